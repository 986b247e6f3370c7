//! Keeping what the upstream knew, in the background.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashserv_storage::{MAX_BATCH, Storage, UnihashEntry};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::error::describe;
use crate::rate_limited_warning::RateLimitedWarning;

/// How many entries may wait to be written. What comes on top, and then until half of them are written, is not
/// kept: it is asked again when needed.
const MAX_PENDING: u64 = 100_000;

/// Writes entries from the upstream to the database, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Backfill {
    /// `None` once it is closed.
    queue: Mutex<Option<mpsc::UnboundedSender<Vec<UnihashEntry>>>>,
    /// How many entries were ever queued.
    queued: AtomicU64,
    /// How many of them were written, or given up.
    written: watch::Receiver<u64>,
    /// Whether entries are not kept at present. It changes under the lock of the queue only.
    full: AtomicBool,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Backfill {
    /// Begins writing to the storage, in a task of the current runtime.
    pub(crate) fn start(storage: Arc<dyn Storage>) -> Self {
        // The number of entries is bounded by `MAX_PENDING`, which a bounded queue of batches could not do.
        let (queue, entries) = mpsc::unbounded_channel();
        let (written_sender, written) = watch::channel(0);
        let writer = tokio::spawn(write(storage, entries, written_sender));
        Backfill {
            queue: Mutex::new(Some(queue)),
            queued: AtomicU64::new(0),
            written,
            full: AtomicBool::new(false),
            writer: Mutex::new(Some(writer)),
        }
    }

    /// Queues entries, unless too many wait already.
    pub(crate) fn add(&self, entries: Vec<UnihashEntry>) {
        if entries.is_empty() {
            return;
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else { return };
        let count = entries.len() as u64;
        if !self.has_room(count) {
            return;
        }
        // Counted first, so that whoever waits now waits for these too.
        self.queued.fetch_add(count, Ordering::AcqRel);
        if queue.send(entries).is_err() {
            self.queued.fetch_sub(count, Ordering::AcqRel);
        }
    }

    /// Whether so many further entries may wait. When that changes, one line tells it.
    fn has_room(&self, count: u64) -> bool {
        let pending = self.pending();
        let was_full = self.full.load(Ordering::Relaxed);
        let full = pending + count > MAX_PENDING || was_full && pending > MAX_PENDING / 2;
        if full != was_full {
            self.full.store(full, Ordering::Relaxed);
            if full {
                warn!("{pending} unihashes from the upstream wait to be written; further ones are not kept");
            } else {
                info!("unihashes from the upstream are kept again");
            }
        }
        !full
    }

    /// How many entries are still to be written.
    pub(crate) fn pending(&self) -> u64 {
        self.queued.load(Ordering::Acquire).saturating_sub(*self.written.borrow())
    }

    /// Waits until all that was queued so far is written.
    pub(crate) async fn wait(&self) {
        let queued = self.queued.load(Ordering::Acquire);
        // An error means that the writer has ended, which leaves nothing to wait for.
        let _ = self.written.clone().wait_for(|written| *written >= queued).await;
    }

    /// Takes nothing more, and waits until what is queued is written, but no longer than the limit.
    pub(crate) async fn close(&self, limit: Duration) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut writer) = writer
            && timeout(limit, &mut writer).await.is_err()
        {
            warn!("{} unihashes from the upstream were not kept: writing them took too long", self.pending());
            writer.abort();
        }
    }
}

async fn write(
    storage: Arc<dyn Storage>,
    mut queue: mpsc::UnboundedReceiver<Vec<UnihashEntry>>,
    written: watch::Sender<u64>,
) {
    let not_kept = RateLimitedWarning::default();
    while let Some(mut entries) = queue.recv().await {
        while entries.len() < MAX_BATCH
            && let Ok(more) = queue.try_recv()
        {
            entries.extend(more);
        }
        let count = entries.len() as u64;
        for batch in entries.chunks(MAX_BATCH) {
            if let Err(error) = storage.record_unihashes(batch.to_vec()).await {
                not_kept.log(format_args!("unihashes from the upstream were not kept: {}", describe(&error)));
            }
        }
        written.send_modify(|written| *written += count);
    }
}
