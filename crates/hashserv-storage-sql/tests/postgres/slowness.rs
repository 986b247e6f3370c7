//! Databases that are slow, or stand still, rather than fail.

use std::time::Duration;

use hashserv_storage::{Column, Conditions, MarkRequest, NewUser, OuthashKey, Storage, StorageError};
use hashserv_test_postgres::{Cluster, Database, Proxy, Setup};
use tokio::time::{sleep, timeout};

use super::support::{METHOD, database_or_skip, open, report, report_one, task, unihash};

/// Time after which clients give up.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(120);

fn by_taskhash(taskhash: &str) -> Conditions {
    [(Column::Taskhash, taskhash.to_owned())].into_iter().collect()
}

fn mark_of(taskhash: &str) -> Vec<MarkRequest> {
    vec![MarkRequest { mark: "m".to_owned(), conditions: by_taskhash(taskhash) }]
}

fn user(name: &str) -> NewUser {
    NewUser { name: name.to_owned(), token_hash: "t".to_owned(), permissions: String::new() }
}

/// Waits for the end of a call, which must be a time-out before clients give up.
async fn times_out<T: std::fmt::Debug>(call: impl Future<Output = Result<T, StorageError>>) {
    let result = timeout(CLIENT_LIMIT, call).await.expect("it ends before clients give up");
    assert!(matches!(result, Err(StorageError::Timeout(_))), "{result:?}");
}

/// Waits until nothing runs that a storage began.
async fn nothing_runs(database: &Database) {
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'hashserv' AND state <> 'idle'";
    let ended = async {
        while database.run(running) != "0\n" {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("what runs ends");
}

/// Whatever a call waits for: its turn, a connection, the database.
#[tokio::test(flavor = "multi_thread")]
async fn calls_end_in_time_when_the_database_stands_still_and_do_nothing_later() {
    if hashserv_test_postgres::is_skipped() {
        return;
    }
    let cluster = Cluster::start(&Setup::default());
    let database = cluster.create_database();
    let storage = open(database.url()).await;
    report_one(&*storage, "t", 1).await.unwrap();
    assert!(storage.create_user(user("before")).await.unwrap());
    let frozen = cluster.freeze();
    // Each is a transaction of its own, so each waits for those before it.
    let (conditions, mark) = (by_taskhash("t"), mark_of("t"));
    let writes = async {
        tokio::join!(
            times_out(storage.report(vec![report("a", "a", 2)])),
            times_out(storage.mark(mark)),
            times_out(storage.remove(&conditions)),
            times_out(storage.report(vec![report("b", "b", 3)])),
        )
    };
    // The key of a row that is found by the only connection there is.
    let (key, tasks, unihashes) = (OuthashKey { method: METHOD, outhash: "t" }, [task("t")], [unihash(1)]);
    let others = async {
        tokio::join!(
            times_out(storage.create_user(user("during"))),
            times_out(storage.outhash_row(key)),
            times_out(storage.outhash_row(key)),
            times_out(storage.unihashes(&tasks)),
            times_out(storage.unihashes_exist(&unihashes)),
        )
    };
    tokio::join!(writes, others);
    drop(frozen);
    nothing_runs(&database).await;
    assert_eq!(database.run("SELECT username FROM users"), "before\n");
    assert_eq!(database.run("SELECT taskhash, gc_mark FROM unihashes_v3 WHERE taskhash = 't'"), "t|\n");
    report_one(&*storage, "after", 4).await.unwrap();
}

/// Makes changes of a table slow.
fn slow_down(database: &Database, table: &str) {
    database.run(&format!(
        "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql \
             AS $$ BEGIN PERFORM pg_sleep(65); RETURN NULL; END $$; \
         CREATE TRIGGER slow AFTER INSERT OR UPDATE OR DELETE ON {table} \
             FOR EACH STATEMENT EXECUTE FUNCTION slow()"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn write_that_was_given_up_is_not_committed_later() {
    let (removed_from, marked, changed) = (database_or_skip!(), database_or_skip!(), database_or_skip!());
    let removing = async {
        let storage = open(removed_from.url()).await;
        report_one(&*storage, "t", 1).await.unwrap();
        slow_down(&removed_from, "unihashes_v3");
        times_out(storage.remove(&by_taskhash("t"))).await;
        nothing_runs(&removed_from).await;
        assert_eq!(storage.unihashes(&[task("t")]).await.unwrap(), [Some(unihash(1))]);
    };
    let marking = async {
        let storage = open(marked.url()).await;
        report_one(&*storage, "t", 1).await.unwrap();
        slow_down(&marked, "unihashes_v3");
        times_out(storage.mark(mark_of("t"))).await;
        nothing_runs(&marked).await;
        assert_eq!(marked.run("SELECT gc_mark FROM unihashes_v3"), "\n");
    };
    let changing = async {
        let storage = open(changed.url()).await;
        slow_down(&changed, "users");
        times_out(storage.create_user(user("u"))).await;
        nothing_runs(&changed).await;
        assert_eq!(changed.run("SELECT count(*) FROM users"), "0\n");
    };
    tokio::join!(removing, marking, changing);
}

/// The network keeps the message until its sender has been told of the time-out.
#[tokio::test(flavor = "multi_thread")]
async fn message_that_arrives_late_changes_nothing() {
    if hashserv_test_postgres::is_skipped() {
        return;
    }
    let cluster = Cluster::start(&Setup::default());
    let database = cluster.create_database();
    report_one(&*open(database.url()).await, "t", 1).await.unwrap();
    let proxy = Proxy::start(cluster.address(), "pg_advisory_xact_lock").await;
    let storage = open(&proxy.url(database.name())).await;
    times_out(storage.remove(&by_taskhash("t"))).await;
    proxy.release();
    proxy.delivered().await;
    nothing_runs(&database).await;
    assert_eq!(database.run("SELECT taskhash FROM unihashes_v3"), "t\n");
}

/// A lock that another session holds, whatever kind it is of.
#[tokio::test(flavor = "multi_thread")]
async fn lock_of_another_session_is_waited_for_within_the_limit() {
    const LOCK: &str =
        "SELECT pg_advisory_xact_lock((1751217000::bigint << 32) + 'unihashes_v3'::regclass::oid::bigint)";
    let waiting = [LOCK, "LOCK TABLE unihashes_v3"].map(|sql| async move {
        let database = database_or_skip!();
        let storage = open(database.url()).await;
        report_one(&*storage, "t", 1).await.unwrap();
        let held = database.hold(sql);
        let reports = futures_util::future::join_all((0..3).map(|number| {
            let storage = &storage;
            async move {
                sleep(Duration::from_secs(5 * number)).await;
                times_out(storage.report(vec![report(&format!("n{number}"), "o", number)])).await;
            }
        }));
        reports.await;
        drop(held);
        nothing_runs(&database).await;
        assert_eq!(database.run("SELECT taskhash FROM unihashes_v3"), "t\n");
    });
    futures_util::future::join_all(waiting).await;
}
