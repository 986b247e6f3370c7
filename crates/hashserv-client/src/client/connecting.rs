//! Sessions: the one at hand, or a new one that is logged in.

use hashserv_protocol::arguments::User as UserArgument;
use hashserv_protocol::{Call, Hello, reply};

use super::Client;
use crate::ClientError;
use crate::retry::Retry;
use crate::session::Session;

impl Client {
    /// The session at hand, or a new one that is logged in.
    pub(super) async fn any_session(&mut self, retry: &mut Retry) -> Result<Session, ClientError> {
        match self.idle_session().await {
            Some(session) => Ok(session),
            None => self.connected_session(retry).await,
        }
    }

    /// A new session that is logged in. Nothing that matters was sent before, so each failure of the server or of
    /// the way to it may be followed by another attempt.
    pub(super) async fn connected_session(&self, retry: &mut Retry) -> Result<Session, ClientError> {
        loop {
            match self.log_in().await {
                Ok(session) => return Ok(session),
                Err(error) if retry.again(&error).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The session at hand, unless the server has closed it meanwhile.
    pub(super) async fn idle_session(&mut self) -> Option<Session> {
        let mut session = self.session.take()?;
        session.is_idle().await.then_some(session)
    }

    pub(super) async fn dial(&self) -> Result<Session, ClientError> {
        let connection = self.connect.connect().await.map_err(ClientError::Connect)?;
        tracing::debug!(peer = %connection.peer(), "connected");
        let hello = Hello { via: self.options.via.clone(), ..Hello::default() };
        Ok(Session::new(connection, self.options.max_message, &hello))
    }

    /// A new session, logged in and acting as whom it is to act as.
    async fn log_in(&self) -> Result<Session, ClientError> {
        let mut session = self.dial().await?;
        match self.identify(&mut session).await {
            Ok(()) => Ok(session),
            Err(error) => {
                session.close_after(&error).await;
                Err(error)
            }
        }
    }

    async fn identify(&self, session: &mut Session) -> Result<(), ClientError> {
        if let Some(login) = &self.options.login {
            session.call::<reply::LoggedIn>(&login.call(), self.options.reply_timeout).await?;
        }
        if let Some(username) = &self.options.become_user {
            let call = Call::BecomeUser(UserArgument { username: username.as_str().into() });
            session.call::<reply::User>(&call, self.options.reply_timeout).await?;
        }
        Ok(())
    }
}
