//! The task that writes what is to be kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashserv_log::{RateLimitedWarning, one_line};
use hashserv_storage::{MAX_BATCH, Storage, StorageError};
use tokio::sync::{mpsc, watch};

use super::item::Item;
use super::progress::Progress;
use super::splitting::{Lost, Sink, write_split};

/// Bytes from which on a batch takes no further answers.
const MAX_BATCH_BYTES: u64 = 4 * 1024 * 1024;

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
            writer.write_batch(std::mem::replace(&mut items, rest)).await;
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
    /// Writes a batch, but for what cannot be written.
    async fn write_batch(&self, items: Vec<Item>) {
        let (count, bytes) = (items.len(), bytes(&items));
        if let Some(Lost { count: lost, cause }) = write_split(items, self, Item::tell).await {
            self.progress.lost.fetch_add(lost as u64, Ordering::AcqRel);
            self.not_kept.log(format_args!(
                "{lost} of {count} answers of the upstream were not kept, they are asked for again when \
                 needed: {}",
                one_line(&cause)
            ));
        }
        self.progress.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.done.send_modify(|done| *done += count as u64);
    }
}

impl Sink<Item> for Writer {
    async fn write(&self, items: &[Item]) -> Result<(), StorageError> {
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
