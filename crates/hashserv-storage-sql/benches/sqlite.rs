//! Cost of reports and look-ups of an output that many tasks have: `cargo bench -p hashserv-storage-sql --bench sqlite`.
//!
//! Ratios mean more than the figures.
#![expect(clippy::print_stdout, reason = "the terminal is where a benchmark speaks")]
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::time::{Duration, Instant};

use hashserv_storage::{
    Conditions, Details, MarkRequest, OuthashKey, Report, Storage as _, Timestamp, Unihash,
};
use hashserv_storage_sql::{Options, SqliteStorage};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Executor as _};

const METHOD: &str = "oe.sstatesig.OEOuthashBasic";
/// Reports of the output that many tasks have.
const MANY: usize = 100_000;
/// Times that each case is measured, in turns.
const ROUNDS: usize = 300;
/// Rows of the database whose index is built.
const ROWS: usize = 1_000_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        compare().await;
        build_index().await;
    });
}

async fn compare() {
    let directory = tempfile::tempdir().unwrap();
    let storage = SqliteStorage::open(directory.path().join("x.db"), &Options::default()).await.unwrap();
    for first in (0..MANY).step_by(1000) {
        storage
            .report((first..first + 1000).map(|n| report(&format!("t{n}"), "many")).collect())
            .await
            .unwrap();
    }
    let mut times = [[Duration::ZERO; 2]; 3];
    for round in 0..ROUNDS {
        for (column, outhash) in [format!("one{round}"), "many".to_owned()].iter().enumerate() {
            let first = format!("first{round}{column}");
            storage.report(vec![report(&first, outhash)]).await.unwrap();
            let begin = Instant::now();
            storage.report(vec![report(&first, outhash)]).await.unwrap();
            times[0][column] += begin.elapsed();
            let begin = Instant::now();
            storage.report(vec![report(&format!("second{round}{column}"), outhash)]).await.unwrap();
            times[1][column] += begin.elapsed();
            let begin = Instant::now();
            storage.unified_outhash_row(OuthashKey { method: METHOD, outhash }).await.unwrap().unwrap();
            times[2][column] += begin.elapsed();
        }
    }
    println!("{:<32}{:>12}{:>20}{:>8}", "", "1 report", "100,000 reports", "ratio");
    for (name, [one, many]) in ["report again", "report of a new task", "get-outhash"].iter().zip(times) {
        let (one, many) = (one / ROUNDS as u32, many / ROUNDS as u32);
        let ratio = many.as_secs_f64() / one.as_secs_f64();
        println!("{name:<32}{one:>12.1?}{many:>20.1?}{ratio:>8.2}");
    }
    swept(&storage).await;
    storage.close().await;
}

/// Measures what reports cost while those before them have lost their unihashes.
async fn swept(storage: &SqliteStorage) {
    let mark = "m".to_owned();
    storage.mark(vec![MarkRequest { mark: mark.clone(), conditions: Conditions::default() }]).await.unwrap();
    storage.sweep(&mark).await.unwrap();
    const TIMES: usize = 10;
    let begin = Instant::now();
    for number in 0..TIMES {
        storage.report(vec![report(&format!("after{number}"), "many")]).await.unwrap();
    }
    println!("report of a new task after 100,000 that were swept: {:.1?}", begin.elapsed() / TIMES as u32);
}

/// Opens a database of another server, which lacks the index.
async fn build_index() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.db");
    SqliteStorage::open(&path, &Options::default()).await.unwrap().close().await;
    let mut plain: SqliteConnection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    plain.execute("DROP INDEX hashserv_outhash_created_v1").await.unwrap();
    let fill = "
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
        INSERT INTO outhashes_v2 (method, taskhash, outhash, created)
        SELECT ?2, lower(hex(randomblob(32))), lower(hex(randomblob(32))), '2026-01-31T12:34:56.789012+00:00' FROM n";
    sqlx::query(fill).bind(ROWS as i64).bind(METHOD).execute(&mut plain).await.unwrap();
    drop(plain);
    let begin = Instant::now();
    let storage = SqliteStorage::open(&path, &Options::default()).await.unwrap();
    println!("opening a database of {ROWS} reports that lacks the index: {:.1?}", begin.elapsed());
    storage.close().await;
}

fn report(taskhash: &str, outhash: &str) -> Report {
    Report {
        method: METHOD.to_owned(),
        taskhash: taskhash.to_owned(),
        outhash: outhash.to_owned(),
        unihash: Unihash::from([1; 32]),
        created: Timestamp::now(),
        details: Details::default(),
    }
}
