//! Secrets that are never printed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A secret, such as a token to log in with. Its [`Debug`] output hides the value, so that types that contain
/// one can derive theirs.
///
/// ```
/// use hashserv_protocol::Secret;
///
/// let token: Secret = "hunter2".into();
/// assert_eq!(format!("{token:?}"), "Secret(..)");
/// assert_eq!(token.reveal(), "hunter2");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// Returns the value, for whoever sends or compares it.
    pub fn reveal(&self) -> &T {
        &self.0
    }

    /// Returns the value on its own.
    pub fn into_revealed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Secret(value)
    }
}

impl From<&str> for Secret<String> {
    fn from(text: &str) -> Self {
        Secret(text.to_owned())
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
