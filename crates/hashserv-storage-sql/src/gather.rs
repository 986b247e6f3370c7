//! Taking from a queue what has gathered there.

use std::collections::VecDeque;

use tokio::sync::Mutex;
use tokio::sync::mpsc::Receiver;

use crate::closing::Closing;

/// Something that waits in a queue.
pub(crate) trait Weighed {
    /// How much of the bound of a batch it takes.
    fn weight(&self) -> usize;
}

/// Adds to `first` what else is in the queue, in order, until the weights reach `bound`; waits for nothing.
///
/// The last one taken may exceed the bound, so that one that is heavier by itself is served too.
pub(crate) fn gather<T: Weighed>(first: T, queue: &mut Receiver<T>, bound: usize) -> VecDeque<T> {
    let mut weight = first.weight();
    let mut gathered = VecDeque::from([first]);
    while weight < bound {
        let Ok(next) = queue.try_recv() else { break };
        weight = weight.saturating_add(next.weight());
        gathered.push_back(next);
    }
    gathered
}

/// Waits for something in a queue that several take from, and gathers; `None` when there will be no more, which is
/// when it is empty after `closing` has begun.
pub(crate) async fn next_batch<T: Weighed>(
    queue: &Mutex<Receiver<T>>,
    bound: usize,
    closing: &mut Closing,
) -> Option<VecDeque<T>> {
    let mut queue = queue.lock().await;
    let first = tokio::select! {
        first = queue.recv() => first,
        _ = closing.begun() => {
            queue.close();
            queue.recv().await
        }
    };
    Some(gather(first?, &mut queue, bound))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    impl Weighed for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    #[test]
    fn takes_what_is_there_up_to_the_bound() {
        let (sender, mut queue) = mpsc::channel(8);
        for weight in [2, 3, 4, 5] {
            sender.try_send(weight).unwrap();
        }
        assert_eq!(gather(1, &mut queue, 6), [1, 2, 3]);
        assert_eq!(gather(100, &mut queue, 6), [100]);
        assert_eq!(gather(0, &mut queue, 100), [0, 4, 5]);
    }
}
