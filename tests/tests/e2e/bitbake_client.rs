//! The client that stands for BitBake's: what it makes of a server that misbehaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashserv_tests::{
    Backend, BitbakeClient, BuildTrouble, METHOD, RETRIES, TestServer, Transport, get, report,
    report_of_a_task, task_of, unihash_of,
};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::everywhere::each_place;

/// A server that answers each line after the handshake by the next of its replies, and closes after the last.
struct Scripted {
    directory: TempDir,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    fn start(replies: &'static [&'static str]) -> Self {
        let directory = TempDir::new().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("socket")).expect("a socket");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(answer(stream, replies));
            }
        });
        Scripted { directory, connections }
    }

    fn client(&self) -> BitbakeClient {
        BitbakeClient::new(&format!("unix://{}", self.directory.path().join("socket").display()))
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn answer(stream: UnixStream, replies: &[&str]) -> Option<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while !lines.next_line().await.ok()??.is_empty() {}
    for reply in replies {
        lines.next_line().await.ok()??;
        writer.write_all(format!("{reply}\n").as_bytes()).await.ok()?;
    }
    lines.next_line().await.ok()?.map(drop)
}

#[tokio::test]
async fn reports_and_looks_up_everywhere() {
    each_place(async |backend, transport| {
        let server = TestServer::new(backend, transport).await;
        let (reply, _) = report_of_a_task(server.address(), &report("a")).await;
        assert_eq!(reply.expect("a reply")["unihash"], unihash_of("a"));
        let mut client = BitbakeClient::new(server.address());
        let tasks = vec![task_of("a"); 5_000];
        let unihashes = client.unihashes(METHOD, &tasks).await.expect("unihashes");
        assert!(unihashes == vec![unihash_of("a"); tasks.len()], "every line is answered");
        assert_eq!(
            client.exist(&[unihash_of("a"), unihash_of("b")]).await.expect("answers"),
            ["true", "false"]
        );
        assert_eq!(client.ask(&get(&task_of("a"))).await.expect("a reply")["unihash"], unihash_of("a"));
        assert!(client.seen().foreign_lines.is_empty());
        assert_eq!((client.seen().closes, client.seen().stream_lines), (0, tasks.len() + 2));
    })
    .await;
}

#[tokio::test]
async fn any_line_in_a_stream_is_taken_and_recorded() {
    const ERROR: &str = "{\"invoke-error\": {\"message\": \"internal error\"}}";
    let server = Scripted::start(&["\"ok\"", "", ERROR, "false"]);
    let mut client = server.client();
    let replies = client.unihashes(METHOD, &["a", "b", "c"]).await.expect("whatever came");
    assert_eq!(replies, ["", ERROR, "false"]);
    assert_eq!(client.seen().foreign_lines, [ERROR, "false"]);
}

#[tokio::test]
async fn close_without_reply_is_retried_and_then_survived() {
    let server = Scripted::start(&[]);
    let mut client = server.client();
    let trouble = client.ask(&get("a")).await.expect_err("no reply");
    assert!(matches!(trouble, BuildTrouble::ConnectionFailed(_)), "{trouble:?}");
    assert_eq!((server.connections(), client.seen().closes), (1 + RETRIES, 1 + RETRIES));
    let in_a_stream = Scripted::start(&["\"ok\"", ""]);
    let trouble = in_a_stream.client().unihashes(METHOD, &["a", "b"]).await.expect_err("half of the replies");
    assert!(matches!(trouble, BuildTrouble::ConnectionFailed(_)), "{trouble:?}");
    assert_eq!(in_a_stream.connections(), 1 + RETRIES);
}

#[tokio::test]
async fn invoke_error_fails_a_build_at_once() {
    let server = Scripted::start(&["{\"invoke-error\": {\"message\": \"no\"}}"]);
    let trouble = server.client().ask(&get("a")).await.expect_err("a refusal");
    assert!(matches!(trouble, BuildTrouble::Exception(_)), "{trouble:?}");
    let trouble = server.client().unihashes(METHOD, &["a"]).await.expect_err("a refusal");
    assert!(matches!(trouble, BuildTrouble::Exception(_)), "{trouble:?}");
    assert_eq!(server.connections(), 2);
    let refusing = TestServer::new(Backend::Sqlite, Transport::Unix).await;
    let request = serde_json::json!({"become-user": {"username": "nobody"}});
    let trouble = BitbakeClient::new(refusing.address()).ask(&request).await.expect_err("a refusal");
    assert!(matches!(trouble, BuildTrouble::Exception(_)), "{trouble:?}");
}
