//! Finding the one of several callers that is at fault.

use crate::answers::SharedFailure;

/// Batches of callers that are still to be served, the next one last.
///
/// A batch that fails by the fault of one caller is served again in halves, until that caller is alone: so one of n
/// costs the others about 2 log n attempts.
#[derive(Debug)]
pub(crate) struct Halves<C>(Vec<Vec<C>>);

impl<C> Halves<C> {
    pub(crate) fn of(callers: Vec<C>) -> Self {
        Halves(vec![callers])
    }

    /// The next batch to serve. Batches come in the order of their callers.
    pub(crate) fn next(&mut self) -> Option<Vec<C>> {
        self.0.pop()
    }

    /// Returns the batch if its callers are to hear the result; else it is served again in halves.
    pub(crate) fn settle<R>(
        &mut self,
        mut callers: Vec<C>,
        result: &Result<R, impl SharedFailure>,
    ) -> Option<Vec<C>> {
        let is_of_one = result.as_ref().is_err_and(|failure| !failure.concerns_all());
        if callers.len() < 2 || !is_of_one {
            return Some(callers);
        }
        let second = callers.split_off(callers.len() / 2);
        self.0.extend([second, callers]);
        None
    }
}
