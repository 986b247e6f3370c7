//! The end of an upstream, and of a service that has one.

use std::sync::Arc;

use hashserv_service::{Unavailable, Upstream};
use hashserv_storage::TaskKey;

use crate::fake::FakeUpstream;
use crate::support::{GENEROUS_TIMEOUT, Running, get, hash, storage, unihash, upstream};

#[tokio::test]
async fn who_waits_is_told_at_once_when_it_is_closed() {
    let fake = FakeUpstream::start(|_, peer| Box::pin(peer.silence())).await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let (asked, ()) = tokio::join!(get(&upstream, [1]), upstream.close());
    assert_eq!(asked, Err(Unavailable));
    assert_eq!(get(&upstream, [1]).await, Err(Unavailable));
}

#[tokio::test]
async fn what_the_upstream_gave_is_written_before_a_server_ends() {
    let fake = FakeUpstream::start(|_, peer| Box::pin(async { peer.getting().await.echo().await })).await;
    let server = Running::start(Some(Arc::new(upstream(&fake.address, GENEROUS_TIMEOUT)))).await;
    let taskhashes: Vec<(&str, String)> = (0..20_000).map(|number| ("m", hash(number))).collect();
    let mut client = server.client().await;
    let found = client.get_stream().await.unwrap().unihashes(&taskhashes).await.unwrap();
    assert!(found.iter().all(Option::is_some));
    let directory = server.stop().await;
    let storage = storage(directory.path()).await;
    let last = TaskKey { method: "m", taskhash: &hash(19_999) };
    assert_eq!(storage.unihashes(&[last]).await.unwrap(), [Some(unihash(19_999))]);
    let usage = storage.usage().await.unwrap();
    assert!(usage.iter().any(|table| table.rows == 20_000), "{usage:?}");
}
