//! Several servers on one database.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use hashserv_storage::{Column, Conditions, MarkRequest, Storage as _, Sweep, UnihashEntry};

use super::support::{METHOD, database_or_skip, open, report, task, unihash};

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_at_once_on_an_empty_database_all_start() {
    let database = database_or_skip!();
    let storages = join_all((0..10).map(|_| open(database.url()))).await;
    let stored = try_join_all((0..).zip(&storages).map(|(n, storage)| {
        let sent = report(&format!("t{n}"), "o", n);
        async move { storage.report(vec![sent]).await }
    }));
    let stored = stored.await.unwrap();
    assert!(stored.iter().all(|unihashes| *unihashes == stored[0]), "{stored:?}");
    assert_eq!(database.run("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'"), "13\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_one_output_at_the_same_instant_converge() {
    const CLIENTS: u64 = 12;
    let database = database_or_skip!();
    let storages = join_all((0..4).map(|_| open(database.url()))).await;
    for round in 0..10 {
        let barrier = Arc::new(tokio::sync::Barrier::new(storages.len() * CLIENTS as usize));
        let mut clients = tokio::task::JoinSet::new();
        for (server, storage) in (0..).zip(&storages) {
            for client in 0..CLIENTS {
                let (storage, barrier) = (Arc::clone(storage), Arc::clone(&barrier));
                let number = (round * 100 + server) * CLIENTS + client;
                let sent = report(&format!("t{round}-{number}"), &format!("o{round}"), number);
                clients.spawn(async move {
                    barrier.wait().await;
                    storage.report(vec![sent]).await.expect("it is recorded")
                });
            }
        }
        let given = clients.join_all().await;
        assert!(given.iter().all(|unihashes| *unihashes == given[0]), "{given:?}");
    }
    let distinct = database.run("SELECT count(DISTINCT unihash) FROM unihashes_v3");
    assert_eq!(distinct, "10\n");
}

/// Whoever comes first, a task has one unihash, and both hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn equivalences_and_reports_of_one_task_agree() {
    let database = database_or_skip!();
    let (one, other) = tokio::join!(open(database.url()), open(database.url()));
    for number in 0..50 {
        let taskhash = format!("t{number}");
        let entry = UnihashEntry {
            method: METHOD.to_owned(),
            taskhash: taskhash.clone(),
            unihash: unihash(1000 + number),
        };
        let (reported, recorded) = tokio::join!(
            one.report(vec![report(&taskhash, &taskhash, number)]),
            other.record_unihashes(vec![entry])
        );
        assert_eq!(reported.unwrap(), recorded.unwrap());
    }
}

/// While collections run one after the other, nothing that was acknowledged since the current one began is
/// swept.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_during_a_collection_survives_it() {
    let database = database_or_skip!();
    let storages = join_all((0..3).map(|_| open(database.url()))).await;
    let (collector, reporters) = storages.split_first().expect("three");
    for collection in 0..8 {
        let mark = format!("m{collection}");
        let request = MarkRequest { mark: mark.clone(), conditions: Conditions::default() };
        collector.mark(vec![request]).await.unwrap();
        let reporting = (0..).zip(reporters).map(|(server, reporter)| async move {
            let mut reported = Vec::new();
            for number in 0..30 {
                let taskhash = format!("{collection}-{server}-{number}");
                reporter.report(vec![report(&taskhash, &taskhash, number)]).await.unwrap();
                reported.push(taskhash);
            }
            reported
        });
        let (swept, reported) = tokio::join!(collector.sweep(&mark), join_all(reporting));
        assert!(matches!(swept.unwrap(), Sweep::Done(_)));
        let reported = reported.concat();
        let keys: Vec<_> = reported.iter().map(|taskhash| task(taskhash)).collect();
        let found = collector.unihashes(&keys).await.unwrap();
        assert!(found.iter().all(Option::is_some), "collection {collection} lost what was reported in it");
    }
}

/// Marks of one server and reports of others take the same rows.
#[tokio::test(flavor = "multi_thread")]
async fn marks_removals_and_reports_do_not_block_each_other() {
    let database = database_or_skip!();
    let storages = join_all((0..3).map(|_| open(database.url()))).await;
    let [marker, remover, reporter] = &storages[..] else { panic!("three") };
    let by_taskhash = |n: u64| -> Conditions { [(Column::Taskhash, format!("t{n}"))].into_iter().collect() };
    let marking = async {
        for n in (0..60).rev() {
            marker
                .mark(vec![MarkRequest { mark: "m".to_owned(), conditions: by_taskhash(n) }])
                .await
                .unwrap();
        }
    };
    let removing = async {
        for n in 0..60 {
            remover.remove(&by_taskhash(n)).await.unwrap();
        }
    };
    let reporting = async {
        for n in 0..60 {
            let batch = (0..60).map(|m| report(&format!("t{}", (n + m) % 60), "o", n)).collect();
            reporter.report(batch).await.unwrap();
        }
    };
    tokio::join!(marking, removing, reporting);
}
