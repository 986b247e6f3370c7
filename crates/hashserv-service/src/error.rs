//! Why something is refused.

use std::error::Error;

use hashserv_storage::StorageError;

use crate::{Permissions, UnknownPermissions};

/// Why the service refuses or fails to do something.
///
/// The texts are those of BitBake's server where it has some, and may be told to a peer, all but that of
/// [`ServiceError::Storage`], which is for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The caller lacks permissions. (`permissions(s)` is BitBake's.)
    #[error("{who} is not allowed to access permissions(s) {}", needed.names().join(", "))]
    NotAllowed {
        /// The caller, as a person knows it.
        who: String,
        /// All the permissions that are needed.
        needed: Permissions,
    },
    /// The name or the token of a login is wrong; which of them is not told.
    #[error("Unable to authenticate as {0}")]
    LoginFailed(String),
    /// There is no such user to become.
    #[error("User {0} doesn't exist")]
    CannotBecome(String),
    /// There is no such user to change.
    #[error("No user named '{0}' exists")]
    NoSuchUser(String),
    /// The name is taken, or cannot be one.
    #[error("Cannot create new user '{0}'")]
    CannotCreateUser(String),
    /// Nobody is logged in, and no user was named.
    #[error("Nobody is logged in; name a user")]
    NobodyLoggedIn,
    /// A permission is none.
    #[error(transparent)]
    UnknownPermissions(#[from] UnknownPermissions),
    /// More tokens are asked for than are handed out.
    #[error("Too many tokens are asked for; try again later")]
    TooManyTokens,
    /// The mark of a sweep is not that of the collection in progress.
    #[error("'{0}' is not the current mark. Refusing to sweep")]
    NotCurrentMark(String),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A failure of the database and its cause in one line.
pub(crate) fn describe(error: &StorageError) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
