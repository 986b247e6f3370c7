//! Finding the server, logging in, exit codes.

use hashserv_tests::{Backend, ClientRun, Launch, TestServer, Transport, hashclient, run_hashclient};

use super::{complaint, output};
use crate::everywhere::everywhere_with;

#[tokio::test]
async fn a_login_comes_from_netrc_or_the_environment() {
    everywhere_with(with_admin, async |server| {
        let refused = "ERROR: Anonymous user is not allowed to access permissions(s) @db-admin";
        assert_eq!(complaint(server, &["gc-status"]).await, refused);
        let netrc = server.directory().join("netrc");
        let machine = format!("machine {} login admin password secret\n", server.address());
        let others = "machine elsewhere login nobody password nothing\n";
        std::fs::write(&netrc, format!("{others}{machine}")).expect("a netrc file");
        assert_eq!(output(server, &["gc-status"]).await, "No Garbage collection in progress\n");
        assert_eq!(complaint(server, &["--no-netrc", "gc-status"]).await, refused);
        std::fs::write(&netrc, others).expect("a netrc file");
        assert_eq!(complaint(server, &["gc-status"]).await, refused);
        let run =
            with_environment(server, &[("HASHSERVER_LOGIN", "admin"), ("HASHSERVER_TOKEN", "secret")]).await;
        assert_eq!(run.succeeded(), "No Garbage collection in progress\n");
        let run =
            with_environment(server, &[("HASHSERVER_LOGIN", "admin"), ("HASHSERVER_TOKEN", "wrong")]).await;
        assert_eq!(run.failed(), "ERROR: Unable to authenticate as admin\n");
    })
    .await;
}

#[tokio::test]
async fn who_is_no_administrator_cannot_act_as_another() {
    everywhere_with(with_admin, async |server| {
        let refused = complaint(server, &["--become", "admin", "gc-status"]).await;
        assert_eq!(refused, "ERROR: Anonymous user is not allowed to access permissions(s) @user-admin");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told_in_one_line() {
    let mut server = TestServer::new(Backend::all()[0], Transport::Unix).await;
    server.stop().await;
    let told = complaint(&server, &["stats"]).await;
    assert!(told.contains(server.address()), "{told}");
    for address in ["127.0.0.1:1", "ws://127.0.0.1:1"] {
        let told = complaint(&server, &["--address", address, "stats"]).await;
        assert!(told.contains(address), "{told}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_in_one_line() {
    let server = TestServer::new(Backend::all()[0], Transport::Wss).await;
    let child =
        hashclient(&server).env_remove("HASHSERVER_TLS_CA").arg("stats").spawn().expect("a running client");
    let run = child.wait_with_output().await.expect("the end");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{errors}");
    assert!(errors.starts_with("ERROR: ") && errors.lines().count() == 1, "{errors}");
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_is_status_2() {
    let server = TestServer::new(Backend::all()[0], Transport::Unix).await;
    for words in
        [&[][..], &["no-such-command"], &["get", "one"], &["--login", "x", "stats"], &["clean-unused", "x"]]
    {
        assert_eq!(run_hashclient(&server, words, "").await.status, Some(2), "{words:?}");
    }
    let help = output(&server, &["--help"]).await;
    assert!(help.contains("gc-mark-stream"), "{help}");
}

fn with_admin(launch: Launch) -> Launch {
    launch.with_admin("@none")
}

/// Asks for the status of the garbage collection, with variables of the environment.
async fn with_environment(server: &TestServer, variables: &[(&str, &str)]) -> ClientRun {
    let mut command = hashclient(server);
    let child = command.envs(variables.iter().copied()).arg("gc-status").spawn().expect("a running client");
    let output = child.wait_with_output().await.expect("the end");
    ClientRun {
        status: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
