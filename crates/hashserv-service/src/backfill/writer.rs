//! The task that writes what is to be kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hashserv_storage::{MAX_BATCH, Storage, StorageError};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Item, Progress};
use crate::error::describe;
use crate::rate_limited_warning::RateLimitedWarning;

/// Bytes from which on a batch takes no further answers.
const MAX_BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// Time from the first attempt within which a failed batch is split. A database that fails as a whole takes
/// longer, and must not be tried once for each answer.
const SPLIT_DEADLINE: Duration = Duration::from_secs(10);

/// Failed attempts after which a batch is split no further: a full disk fails at once, whatever is written.
const MAX_SPLIT_FAILURES: u32 = 64;

/// Writes what comes through the queue until it is closed.
pub(super) async fn run(
    storage: Arc<dyn Storage>,
    mut queue: mpsc::UnboundedReceiver<Vec<Item>>,
    progress: Arc<Progress>,
    done: watch::Sender<u64>,
) {
    let writer = Writer { storage, not_kept: RateLimitedWarning::default(), progress, done };
    while let Some(mut items) = queue.recv().await {
        while items.len() < MAX_BATCH
            && bytes(&items) < MAX_BATCH_BYTES
            && let Ok(more) = queue.try_recv()
        {
            items.extend(more);
        }
        while !items.is_empty() {
            let rest = items.split_off(batch_len(&items));
            writer.write(std::mem::replace(&mut items, rest)).await;
        }
    }
}

struct Writer {
    storage: Arc<dyn Storage>,
    not_kept: RateLimitedWarning,
    progress: Arc<Progress>,
    /// Number of answers that were written or given up.
    done: watch::Sender<u64>,
}

impl Writer {
    /// Writes a batch. Where that fails it is split until what cannot be written stands alone.
    async fn write(&self, items: Vec<Item>) {
        let (count, bytes) = (items.len(), bytes(&items));
        let deadline = Instant::now() + SPLIT_DEADLINE;
        let mut failures = 0;
        let mut lost = 0;
        let mut cause = None;
        let mut parts = vec![items];
        while let Some(mut part) = parts.pop() {
            let Err(error) = self.try_write(&part).await else {
                part.into_iter().for_each(Item::tell);
                continue;
            };
            failures += 1;
            let is_data_suspect = matches!(error, StorageError::Backend(_)) && Instant::now() < deadline;
            if part.len() > 1 && is_data_suspect && failures < MAX_SPLIT_FAILURES {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            } else {
                lost += part.len();
                cause = Some(error);
            }
        }
        if let Some(error) = cause {
            self.not_kept.log(format_args!(
                "{lost} of {count} answers of the upstream were not kept, they are asked for again when \
                 needed: {}",
                describe(&error)
            ));
        }
        self.progress.lost.fetch_add(lost as u64, Ordering::AcqRel);
        self.progress.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.done.send_modify(|done| *done += count as u64);
    }

    async fn try_write(&self, items: &[Item]) -> Result<(), StorageError> {
        // The unihashes go first: a report alone would be given that of an equivalent local one.
        self.storage.record_unihashes(items.iter().map(|item| item.entry.clone()).collect()).await?;
        let reports: Vec<_> = items.iter().filter_map(|item| item.report.clone()).collect();
        if !reports.is_empty() {
            self.storage.report(reports).await?;
        }
        Ok(())
    }
}

/// Number of answers from the front that are written together: one at least.
fn batch_len(items: &[Item]) -> usize {
    let mut bytes = 0;
    let fits = |item: &&Item| {
        let is_open = bytes < MAX_BATCH_BYTES;
        bytes += item.bytes();
        is_open
    };
    items.iter().take(MAX_BATCH).take_while(fits).count()
}

fn bytes(items: &[Item]) -> u64 {
    items.iter().map(Item::bytes).sum()
}
