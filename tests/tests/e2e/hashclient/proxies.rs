//! Servers behind an HTTP proxy.

use hashserv_tests::{
    Backend, Launch, Proxy, TestServer, Transport, get, hashclient, report, task_of, unihash_of,
};

#[tokio::test]
async fn websockets_go_through_the_proxy_of_the_environment() {
    for (transport, variable) in [(Transport::Ws, "http_proxy"), (Transport::Wss, "HTTPS_PROXY")] {
        let proxy = Proxy::start().await;
        let server = TestServer::new(Backend::all()[0], transport).await;
        let run = async |no_proxy: &str| {
            let mut command = hashclient(&server);
            command.env(variable, proxy.url("me:secret")).env("no_proxy", no_proxy);
            let child = command.args(["--log", "TRACE", "stats"]).spawn().expect("a running client");
            let output = child.wait_with_output().await.expect("the end");
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{errors}");
            assert!(!errors.contains("secret") && !errors.contains("bWU6c2VjcmV0"), "{errors}");
        };
        run("127.0.0.1").await;
        assert_eq!(proxy.requests().len(), 0);
        run("example.com").await;
        let requests = proxy.requests();
        assert_eq!(requests.len(), 1);
        let host = server.address().split('/').nth(2).expect("a host");
        assert!(requests[0].starts_with(&format!("CONNECT {host} HTTP/1.1\r\n")), "{requests:?}");
        assert!(requests[0].contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{requests:?}");
    }
}

#[tokio::test]
async fn upstream_is_asked_through_the_proxy_of_the_environment() {
    let proxy = Proxy::start().await;
    let upstream = TestServer::new(Backend::all()[0], Transport::Ws).await;
    upstream.connect().await.ask(report("a")).await;
    let launch = Launch::new(Backend::all()[0], Transport::Unix).args(["--upstream", upstream.address()]);
    let server = launch.env("http_proxy", &proxy.url("me:secret")).start().await;
    assert_eq!(server.connect().await.ask(get(&task_of("a"))).await["unihash"], unihash_of("a"));
    assert!(!proxy.requests().is_empty());
    assert!(!server.log().contains("secret"), "{}", server.log());
}
