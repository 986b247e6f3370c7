//! Finding what cannot be written among what can.

use std::time::Duration;

use hashserv_storage::StorageError;
use tokio::time::Instant;

/// Time from the first attempt within which a failed batch is split. A database that fails as a whole takes
/// longer, and must not be tried once for each item.
const SPLIT_DEADLINE: Duration = Duration::from_secs(10);

/// Failed attempts after which a batch is split no further: a full disk fails at once, whatever is written.
const MAX_SPLIT_FAILURES: u32 = 64;

/// Items that could not be written, and why the last of them was not.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) count: usize,
    pub(super) cause: StorageError,
}

/// Where items are written to.
pub(super) trait Sink<T> {
    /// Writes all items, or none of them.
    fn write(&self, items: &[T]) -> impl Future<Output = Result<(), StorageError>> + Send;
}

/// Writes a batch. Where that fails it is split in halves until what cannot be written stands alone. Each item
/// that is written goes to `written`, each other one is dropped.
pub(super) async fn write_split<T>(
    items: Vec<T>,
    sink: &impl Sink<T>,
    mut written: impl FnMut(T),
) -> Option<Lost> {
    let deadline = Instant::now() + SPLIT_DEADLINE;
    let mut failures = 0;
    let mut lost: Option<Lost> = None;
    let mut parts = vec![items];
    while let Some(mut part) = parts.pop() {
        let Err(error) = sink.write(&part).await else {
            part.into_iter().for_each(&mut written);
            continue;
        };
        failures += 1;
        // Other errors tell of the database, not of what is written.
        let may_be_an_item = matches!(error, StorageError::Backend(_)) && Instant::now() < deadline;
        if part.len() > 1 && may_be_an_item && failures < MAX_SPLIT_FAILURES {
            parts.push(part.split_off(part.len() / 2));
            parts.push(part);
        } else {
            let count = part.len() + lost.map_or(0, |lost| lost.count);
            lost = Some(Lost { count, cause: error });
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Takes numbers, all but some.
    struct Numbers {
        bad: Vec<u32>,
        error: fn() -> StorageError,
        delay: Duration,
        attempts: AtomicUsize,
    }

    impl Sink<u32> for Numbers {
        async fn write(&self, items: &[u32]) -> Result<(), StorageError> {
            self.attempts.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.delay).await;
            let is_bad = items.iter().any(|number| self.bad.contains(number));
            if is_bad { Err((self.error)()) } else { Ok(()) }
        }
    }

    /// Writes numbers, of which some are bad; returns those written, and how many attempts and losses there were.
    async fn write_numbers(numbers: Vec<u32>, bad: &[u32]) -> (Vec<u32>, usize, usize) {
        let error = || StorageError::backend("bad");
        let sink =
            Numbers { bad: bad.to_vec(), error, delay: Duration::ZERO, attempts: AtomicUsize::default() };
        let mut written = Vec::new();
        let lost = write_split(numbers, &sink, |number| written.push(number)).await;
        (written, sink.attempts.into_inner(), lost.map_or(0, |lost| lost.count))
    }

    #[tokio::test]
    async fn bad_item_loses_none_of_its_neighbours() {
        let (written, attempts, lost) = write_numbers((0..1024).collect(), &[904]).await;
        let good: Vec<u32> = (0..1024).filter(|number| *number != 904).collect();
        assert_eq!((written, lost), (good, 1));
        assert!(attempts <= 21, "{attempts}");
        let (written, _, lost) = write_numbers((0..10).collect(), &[0, 5, 9]).await;
        assert_eq!((written, lost), (vec![1, 2, 3, 4, 6, 7, 8], 3));
    }

    #[tokio::test]
    async fn database_that_takes_nothing_is_not_tried_for_each_item() {
        let numbers: Vec<u32> = (0..1024).collect();
        let (written, attempts, lost) = write_numbers(numbers.clone(), &numbers).await;
        assert_eq!((written.len(), lost), (0, 1024));
        assert!(attempts < 100, "{attempts}");
    }

    #[tokio::test(start_paused = true)]
    async fn database_that_fails_slowly_or_as_a_whole_is_tried_once() {
        let errors: [fn() -> StorageError; 2] =
            [|| StorageError::backend("locked"), || StorageError::Timeout("away".to_owned())];
        for (error, delay) in errors.into_iter().zip([SPLIT_DEADLINE, Duration::ZERO]) {
            let sink = Numbers { bad: vec![1], error, delay, attempts: AtomicUsize::default() };
            let lost = write_split(vec![1, 2, 3], &sink, |_| panic!("it is not written")).await;
            assert_eq!((sink.attempts.into_inner(), lost.map(|lost| lost.count)), (1, Some(3)));
        }
    }
}
