//! What batching brings on PostgreSQL: `cargo bench -p hashserv-storage-sql --bench postgres`.
//!
//! Starts a cluster of its own, which makes commits durable, on the disk that holds `/tmp`. Ratios mean more than the
//! figures.
#![expect(clippy::print_stdout, reason = "the terminal is where a benchmark speaks")]
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use hashserv_storage::{Details, OuthashKey, Report, Storage, StorageError, TaskKey, Timestamp, Unihash};
use hashserv_storage_sql::{Options, PostgresStorage};
use hashserv_test_postgres::{Cluster, Durability, Setup};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Executor as _};

const METHOD: &str = "oe.sstatesig.OEOuthashBasic";
const ROWS: usize = 1_000_000;
/// How often each case is measured, in turns, so that what else the machine does is shared by all.
const ROUNDS: usize = 9;
/// For how long each time.
const TIME: Duration = Duration::from_millis(600);
/// Keys of a stream that a session asks for at once.
const BATCH: usize = 256;
/// Tasks that report at once, each its own task, one after the other.
const REPORTERS: usize = 64;

const FILL: &str = "
    INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
        SELECT $1, encode(sha256(n::text::bytea), 'hex'), encode(sha256((n / 3)::text::bytea), 'hex'), ''
        FROM generate_series(1, $2) AS n";

/// Reports of one output, and as many outputs of one report each. Each task has a unihash.
const REPORTS: usize = 100_000;
const FILL_REPORTS: &str = "
    INSERT INTO outhashes_v2 (method, taskhash, outhash, created)
        SELECT $1, t.task || n, t.output || CASE t.output WHEN 'one' THEN n::text ELSE '' END, now() + n * interval '1 ms'
        FROM generate_series(1, $2) AS n, (VALUES ('alone', 'one'), ('shared', 'many')) AS t(task, output)";
const FILL_TASKS: &str = "
    INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
        SELECT o.method, o.taskhash, encode(sha256(o.outhash::bytea), 'hex'), '' FROM outhashes_v2 AS o";

fn main() {
    if hashserv_test_postgres::is_skipped() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let settings = vec!["shared_buffers = 512MB".to_owned(), "max_wal_size = 4GB".to_owned()];
    let cluster = Cluster::start(&Setup { durability: Durability::Full, settings });
    let url = cluster.url("postgres");
    let storages = join_all((0..2).map(|_| open(&url))).await;
    let mut plain = PgConnection::connect_with(&url.parse::<PgConnectOptions>().unwrap()).await.unwrap();
    sqlx::query(FILL).bind(METHOD).bind(ROWS as i64).execute(&mut plain).await.unwrap();
    sqlx::query(FILL_REPORTS).bind(METHOD).bind(REPORTS as i64).execute(&mut plain).await.unwrap();
    plain.execute(FILL_TASKS).await.unwrap();
    plain.execute("ANALYZE; CHECKPOINT").await.unwrap();

    let keys = Keys::new();
    let mut lookups = Table::new("look-ups among a million tasks");
    for _ in 0..ROUNDS {
        lookups.add(
            "one a statement, one connection",
            rate(async || look_up_alone(&mut plain, &keys).await).await,
        );
        lookups.add("batches of 256, one session", rate(async || look_up(&*storages[0], &keys).await).await);
        let sessions =
            async || Ok(try_join_all((0..16).map(|_| look_up(&*storages[0], &keys))).await?.iter().sum());
        lookups.add("batches of 256, 16 sessions", rate(sessions).await);
        let sessions =
            async || Ok(try_join_all((0..256).map(|_| look_up_one(&*storages[0], &keys))).await?.len());
        lookups.add("one at a time, 256 sessions", rate(sessions).await);
    }
    lookups.show();
    let reporter = Reporter::default();
    let mut reports = Table::new("reports, each waits for its commit");
    for _ in 0..ROUNDS {
        reports.add(
            "one a commit, plain statements",
            rate(async || report_alone(&mut plain, &reporter).await).await,
        );
        let alone = async || Ok(storages[0].report(vec![reporter.report()]).await?.len());
        reports.add("one a commit, one task", rate(alone).await);
        reports.add(
            "64 tasks, one server",
            rate(async || report_from_all(&storages[..1], &reporter).await).await,
        );
        reports
            .add("64 tasks, two servers", rate(async || report_from_all(&storages, &reporter).await).await);
    }
    reports.show();
    measure_outputs(&*storages[0], &reporter).await;
    for storage in storages {
        storage.close().await;
    }
}

/// Compares outputs of one report with one of many.
async fn measure_outputs(storage: &dyn Storage, reporter: &Reporter) {
    let next = std::sync::atomic::AtomicUsize::new(1);
    let one = || format!("one{}", next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % REPORTS + 1);
    let many = || "many".to_owned();
    let outputs: [(&str, &dyn Fn() -> String); 2] = [("1 report", &one), ("100,000 reports", &many)];
    let [mut new, mut rows] = ["reports of new tasks", "get-outhash"].map(Table::new);
    for _ in 0..ROUNDS {
        for (name, output) in outputs {
            let report = async || {
                let report = Report { outhash: output(), ..reporter.report() };
                Ok(storage.report(vec![report]).await?.len())
            };
            new.add(name, rate(report).await);
            let row = async || {
                let outhash = output();
                let key = OuthashKey { method: METHOD, outhash: &outhash };
                assert!(storage.unified_outhash_row(key).await?.is_some());
                assert!(storage.outhash_row(key).await?.is_some());
                Ok(1)
            };
            rows.add(name, rate(row).await);
        }
    }
    new.show();
    rows.show();
}

async fn open(url: &str) -> Arc<PostgresStorage> {
    Arc::new(PostgresStorage::open(url, &Options::default()).await.unwrap())
}

/// Rates of several cases, the first of which is the measure of the others.
struct Table {
    title: &'static str,
    rows: Vec<(&'static str, Vec<f64>)>,
}

impl Table {
    fn new(title: &'static str) -> Self {
        Table { title, rows: Vec::new() }
    }

    fn add(&mut self, name: &'static str, rate: f64) {
        match self.rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rates)) => rates.push(rate),
            None => self.rows.push((name, vec![rate])),
        }
    }

    /// Prints the medians.
    fn show(mut self) {
        println!("| {} | a second | ratio |\n| --- | --- | --- |", self.title);
        let mut base = None;
        for (name, rates) in &mut self.rows {
            rates.sort_by(f64::total_cmp);
            let rate = rates[rates.len() / 2];
            println!("| {name} | {rate:.0} | {:.1} |", rate / *base.get_or_insert(rate));
        }
        println!();
    }
}

/// How many a second; `work` tells how many it did.
async fn rate(mut work: impl AsyncFnMut() -> Result<usize, StorageError>) -> f64 {
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < TIME {
        count += work().await.unwrap();
    }
    count as f64 / begin.elapsed().as_secs_f64()
}

/// Taskhashes in random order.
struct Keys {
    taskhashes: Vec<String>,
    next: std::sync::atomic::AtomicUsize,
}

impl Keys {
    fn new() -> Self {
        use sha2::Digest as _;
        let digest = |n: usize| sha2::Sha256::digest(n.to_string());
        let hex = |n| digest(n).iter().map(|byte| format!("{byte:02x}")).collect();
        // A multiplier without a common divisor visits all in an order of its own.
        let taskhashes = (0..ROWS / 4).map(|n| hex(n * 7_654_321 % ROWS + 1)).collect();
        Keys { taskhashes, next: Default::default() }
    }

    fn take(&self, count: usize) -> Vec<TaskKey<'_>> {
        let start = self.next.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        let taskhash = |n: usize| self.taskhashes[(start + n) % self.taskhashes.len()].as_str();
        (0..count).map(|n| TaskKey { method: METHOD, taskhash: taskhash(n) }).collect()
    }
}

async fn look_up(storage: &dyn Storage, keys: &Keys) -> Result<usize, StorageError> {
    let keys = keys.take(BATCH);
    let found = storage.unihashes(&keys).await?;
    assert!(found.iter().all(Option::is_some));
    Ok(found.len())
}

async fn look_up_one(storage: &dyn Storage, keys: &Keys) -> Result<Option<Unihash>, StorageError> {
    Ok(storage.unihashes(&keys.take(1)).await?.pop().flatten())
}

async fn look_up_alone(connection: &mut PgConnection, keys: &Keys) -> Result<usize, StorageError> {
    const SQL: &str = "SELECT unihash FROM unihashes_v3 WHERE method = $1 AND taskhash = $2";
    let keys = keys.take(1);
    let query = sqlx::query_scalar::<_, String>(SQL).bind(keys[0].method).bind(keys[0].taskhash);
    query.fetch_one(connection).await.map_err(StorageError::backend)?;
    Ok(1)
}

/// Makes reports of new tasks, three of each output.
#[derive(Default)]
struct Reporter(std::sync::atomic::AtomicU64);

impl Reporter {
    fn report(&self) -> Report {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut digest = [7; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        Report {
            method: METHOD.to_owned(),
            taskhash: format!("{number:064x}"),
            outhash: format!("{:064x}", number / 3),
            unihash: Unihash::from(digest),
            created: Timestamp::now(),
            details: Details { pn: Some("recipe".to_owned()), ..Details::default() },
        }
    }
}

async fn report_from_all(
    storages: &[Arc<PostgresStorage>],
    reporter: &Reporter,
) -> Result<usize, StorageError> {
    let tasks = (0..REPORTERS).map(|task| {
        let storage = &storages[task % storages.len()];
        async move {
            for _ in 0..20 {
                storage.report(vec![reporter.report()]).await?;
            }
            Ok::<usize, StorageError>(20)
        }
    });
    Ok(try_join_all(tasks).await?.iter().sum())
}

/// A report in statements of their own and one commit, without looking for equivalent ones: the least that a
/// server could do that does not gather.
async fn report_alone(connection: &mut PgConnection, reporter: &Reporter) -> Result<usize, StorageError> {
    const OUTHASH: &str =
        "INSERT INTO outhashes_v2 (method, taskhash, outhash, created) VALUES ($1, $2, $3, now())";
    const UNIHASH: &str =
        "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark) VALUES ($1, $2, $3, '')";
    let report = reporter.report();
    let work = async {
        let mut transaction = connection.begin().await?;
        let outhash = sqlx::query(OUTHASH).bind(&report.method).bind(&report.taskhash).bind(&report.outhash);
        outhash.execute(&mut *transaction).await?;
        let unihash =
            sqlx::query(UNIHASH).bind(&report.method).bind(&report.taskhash).bind(report.unihash.to_string());
        unihash.execute(&mut *transaction).await?;
        transaction.commit().await
    };
    work.await.map_err(StorageError::backend)?;
    Ok(1)
}
