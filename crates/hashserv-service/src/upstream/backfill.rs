//! Keeping what the upstream knew, in the background.

mod item;
mod progress;
mod splitting;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashserv_storage::Storage;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

pub(crate) use item::Item;
use progress::Progress;

/// Number of answers that may wait to be written. Further ones are not kept until half of them are written:
/// they are asked for again when needed.
const MAX_PENDING: u64 = 100_000;

/// Bytes of the answers that may wait to be written, or one answer. Further ones are treated likewise.
const MAX_PENDING_BYTES: u64 = 64 * 1024 * 1024;

/// Writes answers of the upstream to the database, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Backfill {
    /// `None` once it is closed.
    queue: Mutex<Option<mpsc::UnboundedSender<Vec<Item>>>>,
    /// Number of answers that were ever queued.
    queued: AtomicU64,
    /// Number of answers that were written or given up.
    done: watch::Receiver<u64>,
    progress: Arc<Progress>,
    /// Whether answers are not kept at present. It changes under the lock of the queue only.
    full: AtomicBool,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Backfill {
    /// Starts writing to the storage, in a task of the current runtime.
    pub(crate) fn start(storage: Arc<dyn Storage>) -> Self {
        // `MAX_PENDING` and `MAX_PENDING_BYTES` bound the queue; a bounded channel of batches could do neither.
        let (queue, items) = mpsc::unbounded_channel();
        let (done_sender, done) = watch::channel(0);
        let progress = Arc::new(Progress::default());
        let writer = tokio::spawn(writer::run(storage, items, progress.clone(), done_sender));
        Backfill {
            queue: Mutex::new(Some(queue)),
            queued: AtomicU64::new(0),
            done,
            progress,
            full: AtomicBool::new(false),
            writer: Mutex::new(Some(writer)),
        }
    }

    /// Queues answers, unless too many wait already.
    pub(crate) fn add(&self, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else { return };
        let count = items.len() as u64;
        let bytes = items.iter().map(Item::bytes).sum();
        if !self.has_room(count, bytes) {
            self.give_up(count);
            return;
        }
        // Counted first, so that whoever waits now waits for these too.
        self.queued.fetch_add(count, Ordering::AcqRel);
        self.progress.bytes.fetch_add(bytes, Ordering::AcqRel);
        if queue.send(items).is_err() {
            self.queued.fetch_sub(count, Ordering::AcqRel);
            self.progress.bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.give_up(count);
        }
    }

    /// Queues one answer; the receiver is told once it is written, and dropped where it is not kept.
    pub(crate) fn keep(&self, item: Item) -> oneshot::Receiver<()> {
        let (written, receiver) = oneshot::channel();
        self.add(vec![item.telling(written)]);
        receiver
    }

    /// Counts answers that are not kept.
    pub(crate) fn give_up(&self, count: u64) {
        self.progress.lost.fetch_add(count, Ordering::AcqRel);
    }

    /// Whether so many further answers may wait. One line is logged when that changes.
    fn has_room(&self, count: u64, bytes: u64) -> bool {
        let pending = self.pending();
        let pending_bytes = self.progress.bytes.load(Ordering::Acquire);
        let was_full = self.full.load(Ordering::Relaxed);
        let is_half_full = pending > MAX_PENDING / 2 || pending_bytes > MAX_PENDING_BYTES / 2;
        let full = pending + count > MAX_PENDING
            || pending > 0 && pending_bytes + bytes > MAX_PENDING_BYTES
            || was_full && is_half_full;
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

    /// Number of answers that are still to be written.
    pub(crate) fn pending(&self) -> u64 {
        self.queued.load(Ordering::Acquire).saturating_sub(*self.done.borrow())
    }

    /// Number of answers that were not kept since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.progress.lost.load(Ordering::Acquire)
    }

    /// Waits until all that was queued so far is written or given up.
    pub(crate) async fn wait(&self) {
        let queued = self.queued.load(Ordering::Acquire);
        // An error means that the writer has ended, which leaves nothing to wait for.
        let _ = self.done.clone().wait_for(|done| *done >= queued).await;
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
