//! Starting, and failing to: one clear line, status 2 for a wrong setting and 1 for all else.

use std::net::TcpListener;

use hashserv_tests::{Backend, Launch, TestServer, Transport, get, report, task_of, unihash_of};

#[tokio::test]
async fn what_keeps_it_from_starting_is_told_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    for backend in Backend::all() {
        for (arguments, told) in [
            (&["--bind", taken.as_str()][..], taken.as_str()),
            (&["--bind", "unix:///nonexistent/directory/socket"], "/nonexistent/directory/socket"),
            (
                &[
                    "--bind",
                    "wss://127.0.0.1:0",
                    "--tls-cert",
                    "/nonexistent.pem",
                    "--tls-key",
                    "/nonexistent.pem",
                ],
                "/nonexistent.pem",
            ),
        ] {
            fails(Launch::new(backend, Transport::Unix).args(arguments.iter().copied()), told).await;
        }
    }
}

#[tokio::test]
async fn a_wrong_setting_is_told_by_its_option() {
    for backend in Backend::all() {
        for (arguments, told) in [
            (&["--bind", "nowhere"][..], "invalid address \"nowhere\""),
            (&["--bind", "http://localhost:1"], "--bind"),
            (&["--database", "mysql://localhost/x"], "--database"),
            (&["--log", "LOUD"], "--log"),
            (&["--anon-perms", "@all"], "@all cannot be given to anonymous clients"),
            (&["--anon-perms", "@user-admin"], "@user-admin cannot be given"),
            (&["--anon-perms", "@unknown"], "@unknown"),
            (&["--admin-user", "admin"], "--admin-password"),
            (&["--admin-password", "secret"], "--admin-user"),
            (&["--max-connections", "0"], "--max-connections"),
        ] {
            let launch = Launch::new(backend, Transport::Unix).args(arguments.iter().copied());
            let failed = launch.start_failing().await;
            assert_eq!(failed.status, Some(2), "{told}: {}", failed.log);
            assert!(failed.log.contains(told) && !failed.log.contains("secret"), "{told}: {}", failed.log);
        }
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_told_in_one_line() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let broken = directory.path().join("broken.db");
    std::fs::write(&broken, "this is no database ".repeat(1000)).expect("a file");
    let broken = broken.display().to_string();
    let is_directory = directory.path().display().to_string();
    // Under /proc not even the superuser can make a file.
    for database in [broken.as_str(), &is_directory, "/nonexistent/directory/x.db", "/proc/hashserv.db"] {
        for more in [&[][..], &["--read-only"]] {
            let launch = Launch::new(Backend::Sqlite, Transport::Unix).args(["--database", database]);
            fails(launch.args(more.iter().copied()), database).await;
        }
    }
    let content = std::fs::read_to_string(&broken).expect("a file");
    assert!(content.starts_with("this is no database"), "it was left alone");
}

#[tokio::test]
async fn a_second_server_on_a_live_socket_is_refused() {
    for backend in Backend::all() {
        let server = TestServer::new(backend, Transport::Unix).await;
        fails(Launch::new(backend, Transport::Unix).args(["--bind", server.address()]), server.address())
            .await;
        server.connect().await.ping().await;
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    for backend in Backend::all() {
        let mut server = TestServer::new(backend, Transport::Unix).await;
        server.connect().await.ask(report("a")).await;
        let path = server.address().strip_prefix("unix://").expect("a unix socket").to_owned();
        server.kill().await;
        assert!(std::path::Path::new(&path).exists(), "a killed server leaves its socket");
        server.start_again().await;
        let mut client = server.connect().await;
        assert_eq!(client.ask(get(&task_of("a"))).await["unihash"], unihash_of("a"));
    }
}

#[tokio::test]
async fn settings_come_from_the_environment() {
    for backend in Backend::all() {
        let launch = Launch::new(backend, Transport::Unix);
        let launch = launch.env("HASHSERVER_ANON_PERMS", "@none").env("HASHSERVER_ADMIN_USER", "root");
        let server = launch
            .env("HASHSERVER_ADMIN_PASSWORD", "password")
            .env("HASHSERVER_LOG_LEVEL", "info")
            .start()
            .await;
        server.connect().await.ask_refused(&get("a")).await;
        server.log_in("root", "password").await.ask(report("a")).await;
        assert!(server.log().contains("has connected"), "{}", server.log());
    }
}

#[tokio::test]
async fn without_permissions_anonymous_clients_may_do_nothing() {
    for launch in [
        Launch::new(Backend::Sqlite, Transport::Unix).env("HASHSERVER_ANON_PERMS", ""),
        Launch::new(Backend::Sqlite, Transport::Unix).args(["--anon-perms", ""]),
    ] {
        let server = launch.start().await;
        for request in [get("a"), report("a"), serde_json::json!({"get-db-usage": {}})] {
            server.connect().await.ask_refused(&request).await;
        }
    }
}

#[tokio::test]
async fn several_servers_share_a_port() {
    for backend in Backend::all() {
        let database = backend.create();
        let launch = || Launch::on(database.clone(), Transport::Tcp).args(["--reuseport"]);
        let first = launch().start().await;
        let second = launch().args(["--bind", first.address()]).start().await;
        assert_eq!(first.address(), second.address());
        for _ in 0..20 {
            first.connect().await.ping().await;
        }
    }
}

#[tokio::test]
async fn a_socket_of_postgresql_may_be_named_by_the_environment() {
    for url in ["postgresql:///db", "postgresql:///db?port=1"] {
        let launch = Launch::new(Backend::Sqlite, Transport::Unix).env("PGHOST", "/nonexistent");
        fails(launch.args(["--database", url, "--db-connect-timeout", "0"]), "No such file").await;
    }
}

#[tokio::test]
async fn a_parameter_of_a_database_that_is_not_known_is_named_without_its_value() {
    let launch = Launch::new(Backend::Sqlite, Transport::Unix);
    let url = "postgresql://localhost/db?sslpassword=topsecret";
    let failed = launch.args(["--database", url]).start_failing().await;
    assert_eq!(failed.status, Some(2), "it is a wrong setting: {}", failed.log);
    assert!(failed.log.contains("?sslpassword=***: the URL's parameter sslpassword"), "{}", failed.log);
    assert!(!failed.log.contains("topsecret"), "{}", failed.log);
}

/// The server cannot start, and says why in one line.
async fn fails(launch: Launch, told: &str) {
    let failed = launch.start_failing().await;
    assert_eq!(failed.status, Some(1), "{told}: {}", failed.log);
    assert_eq!(failed.log.lines().count(), 1, "{told}: {}", failed.log);
    assert!(failed.log.starts_with("hashserv: ") && failed.log.contains(told), "{told}: {}", failed.log);
}
