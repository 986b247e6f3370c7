//! Telling tasks that the storage is being closed.

use tokio::sync::watch;

/// Tells whether the storage is being closed, or was dropped.
#[derive(Clone, Debug)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Follows a value that turns true.
    pub(crate) fn of(sender: &watch::Sender<bool>) -> Self {
        Closing(sender.subscribe())
    }

    /// Returns when closing has begun. May be dropped at any time.
    pub(crate) async fn begun(&mut self) {
        // An error means that the storage was dropped, which comes to the same.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}
