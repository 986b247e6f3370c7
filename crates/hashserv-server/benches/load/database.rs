//! Databases to measure with.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use hashserv_storage::{Details, Report, Storage, Timestamp, Unihash, UnihashEntry};
use hashserv_storage_sql::{Options, open};

use crate::Result;
use crate::keys::{Kind, METHOD, hash};

/// How many rows are written at a time.
const BATCH: usize = 1_000;

/// Makes a database of the first so many tasks in a file. Of the first `reported` there is what builds leave, of
/// the others the unihash alone: it is all that look-ups read, and written much faster.
pub(crate) fn fill(path: &Path, rows: u64, reported: u64) -> Result<()> {
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let name = path.to_str().ok_or("the path of the database is not UTF-8")?.parse()?;
        let storage = open(&name, &Options::default()).await?;
        let written = write(&storage, rows, reported.min(rows)).await;
        storage.close().await;
        written
    })?;
    eprintln!("wrote {rows} tasks in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Makes a second database of the same contents; nobody may be writing to the first.
pub(crate) fn copy(path: &Path, name: &str) -> Result<PathBuf> {
    let to = path.with_file_name(format!("{name}.db"));
    std::fs::copy(path, &to)?;
    Ok(to)
}

async fn write(storage: &Arc<dyn Storage>, rows: u64, reported: u64) -> Result<()> {
    for numbers in batches(0..reported) {
        storage.report(numbers.map(report).collect()).await?;
    }
    for numbers in batches(reported..rows) {
        storage.record_unihashes(numbers.map(entry).collect()).await?;
    }
    Ok(())
}

fn batches(numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = numbers.end;
    numbers.step_by(BATCH).map(move |from| from..end.min(from + BATCH as u64))
}

fn entry(number: u64) -> UnihashEntry {
    UnihashEntry {
        method: METHOD.to_owned(),
        taskhash: hash(Kind::Taskhash, number),
        unihash: Unihash::from_stored(&hash(Kind::Unihash, number)),
    }
}

fn report(number: u64) -> Report {
    Report {
        method: METHOD.to_owned(),
        taskhash: hash(Kind::Taskhash, number),
        outhash: hash(Kind::Outhash, number),
        unihash: Unihash::from_stored(&hash(Kind::Unihash, number)),
        created: Timestamp::now(),
        details: Details {
            owner: Some("builder".to_owned()),
            pn: Some("glibc".to_owned()),
            pv: Some("2.39".to_owned()),
            pr: Some("r0".to_owned()),
            task: Some("do_populate_sysroot".to_owned()),
            outhash_siginfo: None,
        },
    }
}
