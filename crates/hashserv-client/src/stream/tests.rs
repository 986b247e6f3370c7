use std::time::Duration;

use hashserv_protocol::arguments::GcMark;

use crate::pipeline::{QuerySender, ReplyReceiver};
use crate::stream::{Exists, Get};
use crate::testing::{Peer, client, hangs_up, one_ping, script};
use crate::{Client, ClientError};

/// Answers the switch to a stream mode.
async fn switched(peer: Peer, switch: &str) -> Peer {
    let mut peer = peer.greeted().await;
    peer.expect(&[switch]).await;
    peer.send(&["\"ok\""]).await;
    peer
}

async fn getting(peer: Peer) -> Peer {
    switched(peer, r#"{"get-stream":null}"#).await
}

/// Answers every query with its taskhash, until the stream ends.
async fn echo(peer: &mut Peer) {
    while let Some(line) = peer.line().await
        && line != "END"
    {
        let taskhash = line.strip_prefix("m ").unwrap();
        peer.send(&[taskhash]).await;
    }
}

#[tokio::test]
async fn replies_come_in_the_order_of_the_queries() {
    let server = script(async |peer| {
        let mut peer = getting(peer).await;
        peer.expect(&["m a", "m b"]).await;
        peer.send(&["u", ""]).await;
        peer.expect(&["m c"]).await;
        peer.send(&["v"]).await;
        peer.until_closed().await;
    });
    let mut client = client(vec![server]);
    let mut stream = client.get_stream().await.unwrap();
    let unihashes = stream.unihashes(&[("m", "a"), ("m", "b")]).await.unwrap();
    assert_eq!(unihashes, [Some("u".to_owned()), None]);
    assert_eq!(stream.unihashes::<&str, &str>(&[]).await.unwrap(), []);
    let mut again = client.get_stream().await.unwrap();
    assert_eq!(again.unihashes(&[("m".to_owned(), "c")]).await.unwrap(), [Some("v".to_owned())]);
}

#[tokio::test]
async fn a_batch_of_any_size_is_written_while_its_replies_are_read() {
    let server = script(async |peer| echo(&mut getting(peer).await).await);
    let tasks: Vec<_> = (0..50_000).map(|number| ("m", format!("{number:0>64}"))).collect();
    let mut client = client(vec![server]);
    let unihashes = client.get_stream().await.unwrap().unihashes(&tasks).await.unwrap();
    assert_eq!(unihashes.len(), 50_000);
    assert!(tasks.iter().zip(&unihashes).all(|((_, taskhash), unihash)| unihash.as_ref() == Some(taskhash)));
}

#[tokio::test]
async fn a_call_leaves_the_stream_in_passing() {
    let server = script(async |peer| {
        let mut peer = switched(peer, r#"{"exists-stream":null}"#).await;
        peer.expect(&["u"]).await;
        peer.send(&["true"]).await;
        peer.expect(&["END", r#"{"ping":null}"#]).await;
        peer.send(&["ok", r#"{"alive": true}"#]).await;
        peer.expect(&[r#"{"gc-mark-stream":null}"#]).await;
        peer.send(&["\"ok\""]).await;
        peer.expect(&[r#"{"mark":"M","where":{"unihash":"u"}}"#]).await;
        peer.send(&[r#"{"count": 2}"#]).await;
        peer.expect(&["END"]).await;
        peer.send(&["ok"]).await;
        peer.until_closed().await;
    });
    let mut client = client(vec![server]);
    assert_eq!(client.exists_stream().await.unwrap().exist(&["u"]).await.unwrap(), [true]);
    client.ping().await.unwrap();
    let mut stream = client.mark_stream().await.unwrap();
    let mark = GcMark { mark: "M".into(), conditions: [("unihash".into(), "u".into())].into() };
    assert_eq!(stream.mark(&[mark]).await.unwrap(), [2]);
    stream.leave().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_does_not_end_with_ok_is_an_error() {
    let server = script(async |peer| {
        let mut peer = getting(peer).await;
        peer.expect(&["END"]).await;
        peer.send(&["what"]).await;
        peer.until_closed().await;
    });
    let mut client = client(vec![server]);
    let error = client.get_stream().await.unwrap().leave().await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn a_batch_whose_connection_is_lost_is_asked_again() {
    let loses = || {
        script(async |peer| {
            let mut peer = getting(peer).await;
            peer.expect(&["m a"]).await;
            peer.send(&["stale"]).await;
        })
    };
    let answers = script(async |peer| echo(&mut getting(peer).await).await);
    let mut lucky = client(vec![loses(), loses(), loses(), answers]);
    let unihashes = lucky.get_stream().await.unwrap().unihashes(&[("m", "a"), ("m", "b")]).await.unwrap();
    assert_eq!(unihashes, [Some("a".to_owned()), Some("b".to_owned())]);
    let mut unlucky = client(vec![loses(), loses(), loses(), loses()]);
    let lost = unlucky.get_stream().await.unwrap().unihashes(&[("m", "a"), ("m", "b")]).await;
    assert!(matches!(lost, Err(ClientError::Closed)), "{lost:?}");
}

#[tokio::test]
async fn a_mode_that_the_server_lacks_is_told() {
    let closes = || (0..4).map(|_| hangs_up()).collect();
    assert!(matches!(client(closes()).mark_stream().await, Err(ClientError::Closed)));
    let refuses = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.line().await;
        peer.send(&[r#"{"invoke-error": {"message": "Unknown command"}}"#]).await;
    });
    assert!(matches!(client(vec![refuses]).mark_stream().await, Err(ClientError::Refused(_))));
}

#[tokio::test]
async fn a_refusal_within_a_stream_ends_the_batch() {
    let server = script(async |peer| {
        let mut peer = getting(peer).await;
        peer.line().await;
        peer.send(&["u", r#"{"invoke-error": {"message": "Invalid line"}}"#]).await;
    });
    let mut client = client(vec![server, one_ping()]);
    let error = client.get_stream().await.unwrap().unihashes(&[("m", "a"), ("m", "b")]).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(message) if message == "Invalid line"), "{error:?}");
    client.ping().await.unwrap();
}

#[tokio::test]
async fn a_query_that_cannot_be_sent_keeps_the_others_back() {
    let server = script(async |peer| echo(&mut getting(peer).await).await);
    let mut client = client(vec![server]);
    let mut stream = client.get_stream().await.unwrap();
    for bad in ["", "a b", "a\nb", &"x".repeat(40_000)] {
        let error = stream.unihashes(&[("m", "a"), ("m", bad)]).await.unwrap_err();
        assert!(matches!(error, ClientError::Unsendable(_)), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_answering_within_a_batch_is_given_up() {
    let server = script(async |peer| {
        let mut peer = getting(peer).await;
        peer.line().await;
        peer.send(&["u"]).await;
        peer.until_silence().await;
    });
    let mut client = client(vec![server]);
    let lost = client.get_stream().await.unwrap().unihashes(&[("m", "a"), ("m", "b")]).await;
    assert!(matches!(lost, Err(ClientError::Timeout { after }) if after == Duration::from_secs(30)));
}

fn mark(column: &'static str, value: &'static str) -> GcMark<'static> {
    GcMark { mark: "M".into(), conditions: [(column.into(), value.into())].into() }
}

async fn marking(peer: Peer) -> Peer {
    switched(peer, r#"{"gc-mark-stream":null}"#).await
}

#[tokio::test(start_paused = true)]
async fn mark_in_a_stream_may_take_half_an_hour() {
    let server = script(async |peer| {
        let mut peer = marking(peer).await;
        peer.line().await;
        tokio::time::sleep(Duration::from_secs(1800)).await;
        peer.send(&[r#"{"count": 2}"#]).await;
    });
    let mut client = client(vec![server]);
    let marked = client.mark_stream().await.unwrap().mark(&[mark("method", "m")]).await;
    assert_eq!(marked.unwrap(), [2]);
}

#[tokio::test]
async fn batch_of_marks_is_repeated_unless_one_is_by_the_mark() {
    let loses = || {
        script(async |peer| {
            marking(peer).await.line().await;
        })
    };
    let marks = || {
        script(async |peer| {
            let mut peer = marking(peer).await;
            peer.line().await;
            peer.send(&[r#"{"count": 2}"#]).await;
        })
    };
    let mut repeating = client(vec![loses(), marks()]);
    let marked = repeating.mark_stream().await.unwrap().mark(&[mark("method", "m")]).await;
    assert_eq!(marked.unwrap(), [2]);
    let mut once = client(vec![loses(), marks()]);
    let lost = once.mark_stream().await.unwrap().mark(&[mark("gc_mark", "old")]).await;
    assert!(matches!(lost, Err(ClientError::InDoubt { .. })), "{lost:?}");
}

#[tokio::test]
async fn a_pipeline_sends_on_while_it_waits() {
    let server = script(async |peer| {
        let mut peer = getting(peer).await;
        peer.expect(&["m a", "m b", "m c"]).await;
        peer.send(&["a", ""]).await;
        peer.send(&["c"]).await;
    });
    let mut client = client(vec![server, one_ping()]);
    let (mut sender, mut receiver) = client.pipeline::<Get>().await.unwrap();
    sender.send(&[("m", "a")]).await.unwrap();
    sender.send(&[("m", "b"), ("m", "c")]).await.unwrap();
    let mut replies = Vec::new();
    while replies.len() < 3 {
        receiver.receive(&mut replies, 3).await.unwrap();
    }
    assert_eq!(replies, [Some("a".to_owned()), None, Some("c".to_owned())]);
    assert!(matches!(receiver.receive(&mut replies, 4).await, Err(ClientError::Closed)));
    client.ping().await.unwrap();
}

#[tokio::test]
async fn a_pipeline_takes_no_more_replies_than_it_is_asked_to() {
    let server = script(async |peer| {
        let mut peer = switched(peer, r#"{"exists-stream":null}"#).await;
        peer.expect(&["a", "b", "c"]).await;
        peer.send(&["true", "false", "true"]).await;
        peer.until_closed().await;
    });
    let mut client = client(vec![server]);
    let (mut sender, mut receiver) = client.pipeline::<Exists>().await.unwrap();
    sender.send(&["a", "b", "c"]).await.unwrap();
    let mut replies = Vec::new();
    receiver.receive(&mut replies, 2).await.unwrap();
    assert_eq!(replies, [true, false]);
    receiver.receive(&mut replies, 2).await.unwrap();
    receiver.receive(&mut replies, 3).await.unwrap();
    assert_eq!(replies, [true, false, true]);
    sender.close().await;
}

/// A pipeline over a connection that answers one query.
async fn pipeline_after_a_reply(client: &mut Client) -> (QuerySender<Get>, ReplyReceiver<Get>) {
    let (mut sender, mut receiver) = client.pipeline::<Get>().await.unwrap();
    sender.send(&[("m", "a")]).await.unwrap();
    let mut replies = Vec::new();
    receiver.receive(&mut replies, 1).await.unwrap();
    assert_eq!(replies, [Some("a".to_owned())]);
    (sender, receiver)
}

#[tokio::test]
async fn failure_of_the_sender_shows_at_the_receiver() {
    let server = script(async |peer| echo(&mut getting(peer).await).await);
    let mut client = client(vec![server]);
    let (mut sender, mut receiver) = pipeline_after_a_reply(&mut client).await;
    sender.send(&[("m", "a b")]).await.unwrap_err();
    drop(sender);
    let error = receiver.receive(&mut Vec::new(), 1).await.unwrap_err();
    assert!(error.to_string().contains("must not be empty nor have blanks") && !error.is_lost(), "{error:?}");
}

#[tokio::test]
async fn close_after_the_sender_was_dropped_says_so() {
    let server = script(async |peer| {
        let mut peer = getting(peer).await;
        peer.expect(&["m a"]).await;
        peer.send(&["a"]).await;
    });
    let mut client = client(vec![server]);
    let (sender, mut receiver) = pipeline_after_a_reply(&mut client).await;
    drop(sender);
    let error = receiver.receive(&mut Vec::new(), 1).await.unwrap_err();
    assert!(error.to_string().contains("was dropped"), "{error:?}");
}

#[test]
fn futures_can_be_spawned() {
    fn spawnable<T: Send + 'static>(_: impl FnOnce() -> T) {}
    spawnable(|| async {
        let mut client = client(vec![]);
        let tasks = vec![("m".to_owned(), "a".to_owned())];
        client.get_stream().await?.unihashes(&tasks).await?;
        client.report(Default::default()).await?;
        let (mut sender, mut receiver) = client.pipeline::<Get>().await?;
        sender.send(&[("m", "a")]).await?;
        receiver.receive(&mut Vec::new(), 1).await
    });
}
