//! Accounts as they are stored.

use std::fmt;

/// A stored account.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The number that the database gave to the account. A name that is deleted and made anew gets another one.
    pub id: i64,
    /// The name to log in with.
    pub name: String,
    /// The salted hash of the token, `sha256:SALT:HEX`.
    pub token_hash: String,
    /// The names of the permissions, sorted, separated by blanks; may be empty.
    pub permissions: String,
}

/// An account to be stored.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The name to log in with.
    pub name: String,
    /// The salted hash of the token.
    pub token_hash: String,
    /// The names of the permissions, sorted, separated by blanks.
    pub permissions: String,
}

// By hand, so that not even the hash of a token gets into a log.
impl fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRecord")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("permissions", &self.permissions)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("name", &self.name)
            .field("permissions", &self.permissions)
            .finish_non_exhaustive()
    }
}
