//! Turns of a session: it lets others run after a certain amount of work.

use tokio::task::yield_now;

/// Work that a session does before it lets others run, about 0.1 ms of it. A look-up of a stream mode counts 1.
const WORK_PER_TURN: usize = 1024;

/// Work that a message or a line of one counts for.
pub(crate) const WORK_PER_MESSAGE: usize = 16;

/// The work of a session since it last let others run.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    work: usize,
}

impl Turn {
    /// Counts work, and lets others run when there was enough of it for a turn.
    pub(crate) async fn pass(&mut self, work: usize) {
        self.work += work;
        if self.work >= WORK_PER_TURN {
            self.work = 0;
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_ends_after_a_number_of_messages() {
        let mut turn = Turn::default();
        for _ in 1..WORK_PER_TURN / WORK_PER_MESSAGE {
            assert!(futures_util::FutureExt::now_or_never(turn.pass(WORK_PER_MESSAGE)).is_some());
        }
        assert!(futures_util::FutureExt::now_or_never(turn.pass(WORK_PER_MESSAGE)).is_none());
        assert_eq!(turn.work, 0);
    }
}
