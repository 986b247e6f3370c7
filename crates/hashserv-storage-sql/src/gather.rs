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

    /// Takes something that waits already.
    fn try_recv(&mut self) -> Option<T> {
        self.held.take().or_else(|| self.queue.try_recv().ok())
    }

    /// Returns how many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.held.is_some())
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
        while let Some(next) = self.try_recv() {
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

/// Two queues that are served in turns, so that what is light does not wait for all that is heavy.
///
/// Whatever light waits when a heavy batch has ended goes before the next heavy one; what comes later does not, so
/// that the heavy ones have their turn, too.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    light: Inbox<T>,
    heavy: Inbox<T>,
    /// The batch before was heavy.
    was_heavy: bool,
    /// How many light ones go before the next heavy batch.
    ahead: usize,
}

impl<T: Weighed> Lanes<T> {
    pub(crate) fn new(light: Receiver<T>, heavy: Receiver<T>) -> Self {
        Lanes { light: Inbox::new(light), heavy: Inbox::new(heavy), was_heavy: false, ahead: 0 }
    }

    /// Lets nothing more in; what is in the queues stays there.
    pub(crate) fn close(&mut self) {
        self.light.close();
        self.heavy.close();
    }

    /// Waits for something, and gathers; `None` when there will be no more. May be dropped at any time.
    pub(crate) async fn next_batch(&mut self, bound: usize) -> Option<VecDeque<T>> {
        if std::mem::take(&mut self.was_heavy) {
            self.ahead = self.light.waiting();
        }
        if self.ahead > 0
            && let Some(first) = self.light.try_recv()
        {
            return Some(self.light_batch(first, bound));
        }
        tokio::select! {
            biased;
            Some(first) = self.heavy.recv() => {
                self.was_heavy = true;
                Some(self.heavy.gather(first, bound))
            }
            Some(first) = self.light.recv() => Some(self.light_batch(first, bound)),
            else => None,
        }
    }

    fn light_batch(&mut self, first: T, bound: usize) -> VecDeque<T> {
        let batch = self.light.gather(first, bound);
        self.ahead = self.ahead.saturating_sub(batch.len());
        batch
    }

    #[cfg(test)]
    pub(crate) fn heavy_waiting(&self) -> usize {
        self.heavy.waiting()
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

    #[tokio::test]
    async fn light_and_heavy_take_turns_while_both_come_without_end() {
        let ((light, light_queue), (heavy, heavy_queue)) = (mpsc::channel(8), mpsc::channel(8));
        let mut lanes = Lanes::new(light_queue, heavy_queue);
        for weight in [100, 200, 300] {
            heavy.try_send(weight).unwrap();
        }
        let mut turns = Vec::new();
        for weight in 1..=6 {
            light.try_send(weight).unwrap();
            turns.push(lanes.next_batch(6).await.unwrap());
        }
        // Both that wait after the second heavy one go before the third, also where one batch cannot hold them.
        assert_eq!(turns, [vec![100], vec![1, 2], vec![200], vec![3], vec![4], vec![300]]);
        drop((light, heavy));
        assert_eq!(lanes.next_batch(6).await.unwrap(), [5]);
        assert_eq!(lanes.next_batch(6).await.unwrap(), [6]);
        assert_eq!(lanes.next_batch(6).await, None);
    }
}
