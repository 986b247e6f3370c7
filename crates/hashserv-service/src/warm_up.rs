//! Filling the memory for look-ups after a start.

use std::sync::Arc;

use hashserv_storage::{MAX_BATCH, Storage};
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use crate::cache::LookupCache;

/// Reads the newest unihashes into the memory for look-ups until it is full or has them all.
///
/// Builds that start right after the server would otherwise ask the database for every hash. As much time as it
/// reads it leaves to others. Which unihashes exist is asked far less, and remembered when it is asked.
pub(crate) async fn warm_up(storage: Arc<dyn Storage>, cache: Arc<LookupCache>) {
    let begin = Instant::now();
    let mut before = None;
    let mut count = 0;
    while !cache.is_full() {
        let started = Instant::now();
        let epoch = cache.epoch();
        let page = match storage.newest_unihashes(before, MAX_BATCH).await {
            Ok(page) => page,
            Err(error) => {
                debug!("reading unihashes ahead ended: {error}");
                return;
            }
        };
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        count += page.len();
        cache
            .add_unihashes(epoch, page.iter().map(|stored| (stored.entry.task_key(), &stored.entry.unihash)));
        sleep(started.elapsed()).await;
    }
    info!("{count} unihashes were read ahead in {:.1} s", begin.elapsed().as_secs_f64());
}
