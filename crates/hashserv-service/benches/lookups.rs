//! What a look-up costs that is answered from memory, and one that the database answers.
//!
//! ```text
//! cargo bench -p hashserv-service --bench lookups
//! ```

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use hashserv_service::{Service, ServiceOptions};
use hashserv_storage::{MAX_BATCH, Storage, TaskKey, Unihash, UnihashEntry};
use hashserv_storage_sql::{Options, open};
use tokio::runtime::Runtime;

/// How many tasks the database has.
const TASKS: usize = 10 * MAX_BATCH;

const METHOD: &str = "oe.sstatesig.OEOuthashBasic";

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let directory = tempfile::tempdir()?;
    let name = directory.path().join("hashserv.db").to_str().ok_or("the path is not UTF-8")?.parse()?;
    let storage = runtime.block_on(async {
        let storage = open(&name, &Options::default()).await?;
        fill(&*storage).await?;
        Ok::<_, Box<dyn Error>>(storage)
    })?;
    let mut criterion = Criterion::default().configure_from_args();
    measure(&mut criterion, &runtime, &storage, "memory", TASKS)?;
    measure(&mut criterion, &runtime, &storage, "database", 0)?;
    criterion.final_summary();
    runtime.block_on(storage.close());
    Ok(())
}

async fn fill(storage: &dyn Storage) -> Result<(), Box<dyn Error>> {
    let numbers: Vec<usize> = (0..TASKS).collect();
    for batch in numbers.chunks(MAX_BATCH) {
        let entries = batch.iter().map(|number| UnihashEntry {
            method: METHOD.to_owned(),
            taskhash: hash(*number),
            unihash: Unihash::from_stored(&hash(*number)),
        });
        storage.record_unihashes(entries.collect()).await?;
    }
    Ok(())
}

/// Batches of several sizes, with so many look-ups remembered.
fn measure(
    criterion: &mut Criterion,
    runtime: &Runtime,
    storage: &Arc<dyn Storage>,
    from: &str,
    cache_entries: usize,
) -> Result<(), Box<dyn Error>> {
    let options = ServiceOptions { cache_entries, ..ServiceOptions::default() };
    let service = runtime.block_on(async { Service::new(storage.clone(), None, &options) });
    let equivalence = service.equivalence();
    let hashes: Vec<String> = (0..256).map(hash).collect();
    let tasks: Vec<_> = hashes.iter().map(|taskhash| TaskKey { method: METHOD, taskhash }).collect();
    let unihashes: Vec<Unihash> = hashes.iter().map(|hash| Unihash::from_stored(hash)).collect();
    // Asked once, they are remembered.
    runtime.block_on(equivalence.unihashes(&tasks))?;
    runtime.block_on(equivalence.unihashes_exist(&unihashes))?;
    let mut group = criterion.benchmark_group(from);
    for size in [1, 16, 256] {
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("unihashes", size), |bencher| {
            bencher.iter(|| runtime.block_on(equivalence.unihashes(black_box(&tasks[..size]))).is_ok());
        });
        group.bench_function(BenchmarkId::new("existence", size), |bencher| {
            bencher.iter(|| {
                runtime.block_on(equivalence.unihashes_exist(black_box(&unihashes[..size]))).is_ok()
            });
        });
    }
    group.finish();
    Ok(())
}

fn hash(number: usize) -> String {
    format!("{number:064x}")
}
