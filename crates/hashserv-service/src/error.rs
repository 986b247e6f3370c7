//! Refusals and failures.

use hashserv_storage::StorageError;

use crate::{Permissions, UnknownPermissions};

/// A call of the service that was refused, or that failed.
///
/// The two are types of their own, so that no `?` turns one into the other: a refusal is told to the peer, a
/// failure never is. BitBake takes an explained error for the end of the build, and a connection that is closed
/// without a word for a server that is away.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The caller asked for something wrong.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The service is not well.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// A mistake of the caller. The texts are those of BitBake's server where it has some, and may be told to a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
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
    /// Nobody could manage users any more.
    #[error(
        "User '{0}' is the last one who may manage users; give @user-admin or @all to another user before"
    )]
    LastAdministrator(String),
    /// Nobody is logged in, and no user was named.
    #[error("Nobody is logged in; name a user")]
    NobodyLoggedIn,
    /// A permission is none.
    #[error(transparent)]
    UnknownPermissions(#[from] UnknownPermissions),
    /// The mark of a sweep is not that of the collection in progress.
    #[error("'{0}' is not the current mark. Refusing to sweep")]
    NotCurrentMark(String),
}

/// Trouble of the server. The texts are for its log, not for its peers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// More tokens are asked for than are handed out.
    #[error("more tokens are asked for than are handed out")]
    TooManyTokens,
}

impl From<StorageError> for ServiceError {
    fn from(error: StorageError) -> Self {
        Failure::from(error).into()
    }
}
