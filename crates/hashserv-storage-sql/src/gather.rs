//! Taking from a queue what has gathered there.

use std::collections::VecDeque;

use tokio::sync::Mutex;
use tokio::sync::mpsc::Receiver;

use crate::closing::Closing;

/// Something that waits in a queue.
pub(crate) trait Weighed {
    /// Its share of the bound of a batch.
    fn weight(&self) -> usize;
}

/// The end of a queue from which batches are taken.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    queue: Receiver<T>,
    /// Taken from the queue, and too heavy for the batch that was gathered then.
    held: Option<T>,
}

impl<T: Weighed> Inbox<T> {
    pub(crate) fn new(queue: Receiver<T>) -> Self {
        Inbox { queue, held: None }
    }

    /// Waits for something; `None` when there will be no more. May be dropped at any time.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        match self.held.take() {
            Some(held) => Some(held),
            None => self.queue.recv().await,
        }
    }

    /// Lets nothing more in; what is in the queue stays there.
    pub(crate) fn close(&mut self) {
        self.queue.close();
    }

    /// Adds to `first` what else is in the queue, in order, while the weights stay within `bound`; waits for nothing.
    ///
    /// What is heavier by itself is a batch of its own, so that nothing light waits for it.
    pub(crate) fn gather(&mut self, first: T, bound: usize) -> VecDeque<T> {
        let mut weight = first.weight();
        let mut gathered = VecDeque::from([first]);
        while let Some(next) = self.held.take().or_else(|| self.queue.try_recv().ok()) {
            weight = weight.saturating_add(next.weight());
            if weight > bound {
                self.held = Some(next);
                break;
            }
            gathered.push_back(next);
        }
        gathered
    }
}

/// Waits for something in a queue that several take from, and gathers; `None` when there will be no more, which is
/// when it is empty after `closing` has begun.
pub(crate) async fn next_batch<T: Weighed>(
    inbox: &Mutex<Inbox<T>>,
    bound: usize,
    closing: &mut Closing,
) -> Option<VecDeque<T>> {
    let mut inbox = inbox.lock().await;
    let first = tokio::select! {
        first = inbox.recv() => first,
        _ = closing.begun() => {
            inbox.close();
            inbox.recv().await
        }
    };
    Some(inbox.gather(first?, bound))
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

    #[tokio::test]
    async fn batch_stays_within_its_bound() {
        let (sender, queue) = mpsc::channel(8);
        let mut inbox = Inbox::new(queue);
        for weight in [1, 2, 3, 4, 100, 0, 5] {
            sender.try_send(weight).unwrap();
        }
        drop(sender);
        let mut batches = Vec::new();
        while let Some(first) = inbox.recv().await {
            batches.push(inbox.gather(first, 6));
        }
        assert_eq!(batches, [vec![1, 2, 3], vec![4], vec![100], vec![0, 5]]);
    }
}
