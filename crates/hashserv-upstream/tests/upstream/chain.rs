//! A server whose upstream has an upstream.

use std::sync::Arc;

use hashserv_storage::UnihashEntry;

use crate::support::{GENEROUS_TIMEOUT, Running, get, hash, report, unihash, upstream};

#[tokio::test]
async fn what_the_last_of_three_knows_reaches_the_first_and_stays_on_the_way() {
    let last = Running::start(None).await;
    last.service.equivalence().report(vec![report(1, 10), report(2, 10), report(3, 30)]).await.unwrap();
    let middle = Running::start(Some(Arc::new(upstream(&last.address, GENEROUS_TIMEOUT)))).await;
    let first = Running::start(Some(Arc::new(upstream(&middle.address, GENEROUS_TIMEOUT)))).await;

    let mut client = first.client().await;
    let tasks = [1, 2, 9].map(|number| ("m", hash(number)));
    let found = client.get_stream().await.unwrap().unihashes(&tasks).await.unwrap();
    assert_eq!(found, [Some(hash(1)), Some(hash(1)), None]);
    assert_eq!(client.get("m", &hash(3)).await.unwrap().unwrap().unihash, hash(3));
    let row = client.get_outhash("m", &hash(30), &hash(4), true).await.unwrap().unwrap();
    assert_eq!((row.taskhash, row.unihash), (hash(3), Some(hash(3))));
    let exist = client.exists_stream().await.unwrap().exist(&[hash(1), hash(9)]).await.unwrap();
    assert_eq!(exist, [true, false]);
    let reported = first.service.equivalence().report(vec![report(5, 10)]).await.unwrap();
    assert_eq!(reported, [unihash(1)], "the last has the output");

    for server in [&middle, &first] {
        let mut client = server.client().await;
        client.backfill_wait().await.unwrap();
    }
    last.stop().await;
    let found = client.get_stream().await.unwrap().unihashes(&tasks).await.unwrap();
    assert_eq!(found, [Some(hash(1)), Some(hash(1)), None]);
}

#[tokio::test]
async fn a_batch_of_any_size_goes_over_a_websocket() {
    let server = Running::start_at("ws://127.0.0.1:0", None).await;
    let upstream = upstream(&server.address, GENEROUS_TIMEOUT);
    let entry = UnihashEntry { method: "m".to_owned(), taskhash: hash(29_999), unihash: unihash(7) };
    server.service.equivalence().record_unihash(entry).await.unwrap();
    let found = get(&upstream, 0..30_000).await.unwrap();
    assert_eq!(found.iter().flatten().count(), 1);
    assert_eq!(found[29_999], Some(unihash(7)));
}
