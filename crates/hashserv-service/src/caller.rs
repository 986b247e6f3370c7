//! Who is asking.

use crate::Permissions;

/// Who is behind a connection: nobody known, or a user.
///
/// It is made by [`Accounts`](crate::Accounts), which also decides what it may do.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    pub(crate) user: Option<LoggedIn>,
}

/// A user who has logged in.
#[derive(Clone, Debug)]
pub(crate) struct LoggedIn {
    /// The account: one of the same name that was made anew is another.
    pub(crate) id: i64,
    pub(crate) name: String,
    /// None once the account was found to be gone.
    pub(crate) permissions: Option<Permissions>,
    /// The state of all accounts for which `permissions` holds.
    pub(crate) generation: u64,
}

impl Caller {
    /// Somebody who has not logged in.
    #[must_use]
    pub fn anonymous() -> Self {
        Caller::default()
    }

    /// The name of the user who is logged in, whose account may have been deleted since.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.name.as_str())
    }

    /// The name to keep with what the caller reports: that of its user, unless the account was found to be gone
    /// when the caller was last checked.
    #[must_use]
    pub fn reporter(&self) -> Option<&str> {
        self.user.as_ref().filter(|user| user.permissions.is_some()).map(|user| user.name.as_str())
    }

    /// The caller as a person knows it.
    pub(crate) fn title(&self) -> &str {
        self.user_name().unwrap_or("Anonymous user")
    }
}
