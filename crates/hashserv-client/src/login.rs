//! Credentials.

use hashserv_protocol::arguments::Auth;
use hashserv_protocol::{Call, Secret, Text};

/// User name and token to log in with. The token is never printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Name of the user.
    pub username: String,
    /// Token of the user.
    pub token: Secret,
}

impl Login {
    /// Credentials of a user.
    pub fn new(username: impl Into<String>, token: impl Into<Secret>) -> Self {
        Login { username: username.into(), token: token.into() }
    }

    /// The request that logs in.
    pub(crate) fn call(&self) -> Call<'_> {
        let token = Text::from(self.token.reveal().as_str());
        Call::Auth(Auth { username: self.username.as_str().into(), token: Secret::from(token) })
    }
}
