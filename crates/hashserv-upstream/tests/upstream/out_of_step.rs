//! Upstreams that send other than one reply to each question.

use hashserv_service::{Unavailable, Upstream};
use hashserv_storage::{TaskKey, Unihash};

use crate::fake::FakeUpstream;
use crate::support::{GENEROUS_TIMEOUT, hash, unihash, upstream};

async fn ask(upstream: &impl Upstream, numbers: std::ops::Range<usize>) -> Vec<Option<Unihash>> {
    let taskhashes: Vec<String> = numbers.map(hash).collect();
    let keys: Vec<_> = taskhashes.iter().map(|taskhash| TaskKey { method: "m", taskhash }).collect();
    let answers = upstream.unihashes(&keys).await.into_iter();
    answers.map(|answer: Result<_, Unavailable>| answer.ok().flatten()).collect()
}

/// An upstream that answers every query so many times.
async fn repeating(times: usize) -> FakeUpstream {
    FakeUpstream::start(move |_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            while let [taskhash] = &peer.taskhashes(1).await[..] {
                peer.send(&format!("{taskhash}\n").repeat(times - 1)).await;
                peer.answer(taskhash).await;
            }
        })
    })
    .await
}

#[tokio::test]
async fn replies_that_come_several_times_are_never_taken_for_other_tasks() {
    for count in [1, 2, 30, 1000] {
        let fake = repeating(3).await;
        let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
        for round in 0..3 {
            let numbers = round * count..(round + 1) * count;
            for (number, found) in numbers.clone().zip(ask(&upstream, numbers).await) {
                assert!(found.is_none() || found == Some(unihash(number)), "{number}: {found:?}");
            }
        }
    }
}

#[tokio::test]
async fn value_with_a_line_end_spoils_no_answer_to_another_task() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            while let [taskhash] = &peer.taskhashes(1).await[..] {
                if *taskhash == hash(500) {
                    peer.send(&format!("{}\n", hash(77))).await;
                }
                peer.answer(taskhash).await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let found = ask(&upstream, 0..1000).await;
    for (number, found) in found.into_iter().enumerate() {
        assert_eq!(found, (number != 500).then(|| unihash(number)), "{number}");
    }
}

#[tokio::test]
async fn reply_without_a_question_ends_the_connection() {
    let fake = FakeUpstream::start(|number, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            if number > 0 {
                return peer.echo().await;
            }
            let taskhash = peer.taskhashes(1).await.remove(0);
            peer.answer(&taskhash).await;
            peer.ended().await;
            peer.send(&format!("{}\n", hash(77))).await;
            peer.silence().await;
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    assert_eq!(ask(&upstream, 1..2).await, [Some(unihash(1))]);
    assert_eq!(ask(&upstream, 2..3).await, [Some(unihash(2))]);
    assert_eq!(fake.accepted(), 2);
}
