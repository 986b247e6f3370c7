//! The client: connections, who is logged in, and retries.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hashserv_protocol::arguments::{Auth, User as UserArgument};
use hashserv_protocol::{Address, Call, DEFAULT_MAX_MESSAGE, Hello, reply};
use hashserv_transport::Dialer;
use serde::de::DeserializeOwned;

use crate::batches::batch_halves;
use crate::call::{is_maintenance, is_repeatable};
use crate::call_pipeline::call_halves;
use crate::pipeline::{QuerySender, ReplyReceiver, halves};
use crate::session::Session;
use crate::stream::mode::{Query, StreamMode};
use crate::writer::check_queries;
use crate::{
    BatchReceiver, BatchSender, CallReceiver, CallSender, ClientError, Connect, ExistsStream, GetStream,
    MarkStream, Stream, Target,
};

mod commands;
#[cfg(test)]
mod tests;

/// How often a request is repeated whose connection was closed without a reply; as BitBake's client does.
const MAX_REPEATS: u32 = 3;

/// How a [`Client`] behaves.
#[derive(Clone)]
pub struct ClientOptions {
    /// How long the server may neither take nor send anything before a call fails. 30 s by default.
    pub reply_timeout: Duration,
    /// The same for calls that go through all that is stored, such as [`gc_sweep`](Client::gc_sweep), and for
    /// [`backfill_wait`](Client::backfill_wait). An hour by default.
    pub maintenance_timeout: Duration,
    /// The longest reply that is taken in chunks, in bytes. 64 MiB by default. Over a WebSocket the
    /// [limits of the transport](hashserv_transport::Limits) count.
    pub max_message: usize,
    /// The name and the token to log in with on every connection.
    pub login: Option<(String, String)>,
    /// Whom to act as on every connection, which only a user administrator may.
    pub become_user: Option<String>,
    /// The servers on whose behalf a server asks, itself first; see [`Hello::via`]. None by default.
    pub via: Vec<u64>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            reply_timeout: Duration::from_secs(30),
            maintenance_timeout: Duration::from_secs(60 * 60),
            max_message: DEFAULT_MAX_MESSAGE,
            login: None,
            become_user: None,
            via: Vec::new(),
        }
    }
}

// By hand, so that no token gets into a log.
impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("reply_timeout", &self.reply_timeout)
            .field("maintenance_timeout", &self.maintenance_timeout)
            .field("max_message", &self.max_message)
            .field("login", &self.login.as_ref().map(|(username, _)| username))
            .field("become_user", &self.become_user)
            .field("via", &self.via)
            .finish()
    }
}

/// A client of one server, over one connection at a time.
///
/// After an error, and after a call whose future was dropped, the next call dials a new connection, logs in
/// and becomes the user again. Dropping any of its futures is safe in so far: no later call gets a reply that
/// was meant for an earlier one. Whether the server did what a dropped call asked for is not known.
///
/// A call whose connection was lost before the reply came is repeated at once, up to three times, but for
/// those that would do something else the second time: [`remove`](Client::remove),
/// [`clean_unused`](Client::clean_unused), [`gc_sweep`](Client::gc_sweep),
/// [`reset_stats`](Client::reset_stats), [`new_user`](Client::new_user),
/// [`refresh_token`](Client::refresh_token) and [`delete_user`](Client::delete_user). None is repeated
/// after a refusal, a timeout or a failure to connect.
///
/// Unless a method says more, it fails with any of [`ClientError`].
pub struct Client {
    connect: Box<dyn Connect>,
    options: ClientOptions,
    /// Taken out while a call is under way, so that one that is dropped leaves no half-read connection.
    session: Option<Session>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.options)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a server, and logs in where the options say so. The handshake travels along with the first
    /// request. Cancellation safe: a connection that is not finished is dropped.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connect`] if there is no server to be reached; if there is a login, those of
    /// [`auth`](Client::auth) too.
    pub async fn connect(
        dialer: impl Into<Arc<Dialer>>,
        address: &Address,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let mut client = Client::new(Target::new(dialer, address.clone()), options);
        client.session = Some(client.log_in().await?);
        Ok(client)
    }

    /// A client that connects with its first call.
    pub fn new(connect: impl Connect + 'static, options: ClientOptions) -> Self {
        Client { connect: Box::new(connect), options, session: None }
    }

    /// Closes the connection in good order, which takes a second at most. A client that is dropped closes it
    /// without a word, which harms nobody.
    pub async fn close(mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Logs in, from now on with every connection.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] if the server does not know the user with this token; it takes a second to say
    /// so. Who was logged in before stays the one that later calls log in as.
    pub async fn auth(&mut self, username: &str, token: &str) -> Result<reply::LoggedIn, ClientError> {
        // A new login replaces the old one, which therefore need not be valid any more.
        let mut session = match self.idle_session().await {
            Some(session) => session,
            None => self.dial().await?,
        };
        let call = Call::Auth(Auth { username: username.into(), token: token.into() });
        let reply = session.call(&call, self.options.reply_timeout).await?;
        self.session = Some(session);
        self.options.login = Some((username.to_owned(), token.to_owned()));
        self.options.become_user = None;
        Ok(reply)
    }

    /// Acts as another user, from now on with every connection.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] if who is logged in may not do that, or there is no such user.
    pub async fn become_user(&mut self, username: &str) -> Result<reply::User, ClientError> {
        let call = Call::BecomeUser(UserArgument { username: username.into() });
        let reply = self.call(&call).await?;
        self.options.become_user = Some(username.to_owned());
        Ok(reply)
    }

    /// Begins to look up unihashes in batches. A cancelled call costs the connection.
    pub async fn get_stream(&mut self) -> Result<GetStream<'_>, ClientError> {
        self.stream().await
    }

    /// Begins to ask in batches which unihashes are known. A cancelled call costs the connection.
    pub async fn exists_stream(&mut self) -> Result<ExistsStream<'_>, ClientError> {
        self.stream().await
    }

    /// Begins to mark unihashes in batches. A cancelled call costs the connection. Older servers do not have
    /// the mode: they refuse it or close the connection.
    pub async fn mark_stream(&mut self) -> Result<MarkStream<'_>, ClientError> {
        self.stream().await
    }

    /// Gives the connection away as a stream in two halves, for queries that go out while the replies to
    /// earlier ones are awaited. The next call of the client dials a new connection. A cancelled call costs
    /// the connection.
    ///
    /// ```no_run
    /// use hashserv_client::{Client, ClientError, Get};
    ///
    /// # async fn example(client: &mut Client) -> Result<(), ClientError> {
    /// let (mut sender, mut receiver) = client.pipeline::<Get>().await?;
    /// sender.send(&[("method", "one"), ("method", "two")]).await?;
    /// sender.send(&[("method", "three")]).await?;
    /// let mut replies = Vec::new();
    /// while replies.len() < 3 {
    ///     receiver.receive(&mut replies, 3).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pipeline<M: StreamMode>(
        &mut self,
    ) -> Result<(QuerySender<M>, ReplyReceiver<M>), ClientError> {
        let session = self.switched::<M>().await?;
        let (writer, reader) = session.into_halves();
        Ok(halves(writer, reader))
    }

    /// Gives the connection away as a stream in two halves, for batches of queries whose replies are counted:
    /// a server that sends a reply too many or too few is found out before any reply of the batch is used. A
    /// batch costs two further short lines each way, but no further round trip. The next call of the client
    /// dials a new connection. A cancelled call costs the connection.
    pub async fn batches<M: StreamMode>(
        &mut self,
    ) -> Result<(BatchSender<M>, BatchReceiver<M>), ClientError> {
        let session = self.switched::<M>().await?;
        let framing = session.framing();
        let (writer, reader) = session.into_halves();
        Ok(batch_halves(writer, reader, framing))
    }

    /// Gives the connection away in normal mode in two halves, for requests that go out while the replies to
    /// earlier ones are awaited. The next call of the client dials a new connection. A cancelled call costs
    /// the connection.
    pub async fn call_pipeline(&mut self) -> Result<(CallSender, CallReceiver), ClientError> {
        let mut session = self.take_session().await?;
        session.leave(self.options.reply_timeout).await?;
        let framing = session.framing();
        let (writer, reader) = session.into_halves();
        Ok(call_halves(writer, reader, framing))
    }

    /// Sends one request and returns its reply.
    async fn call<R: DeserializeOwned>(&mut self, call: &Call<'_>) -> Result<R, ClientError> {
        let patience = match is_maintenance(call) {
            true => self.options.maintenance_timeout,
            false => self.options.reply_timeout,
        };
        let mut repeats = if is_repeatable(call) { MAX_REPEATS } else { 0 };
        loop {
            let error = match self.attempt(call, patience).await {
                Err(error) if error.is_lost() && repeats > 0 => error,
                result => return result,
            };
            repeats -= 1;
            log_repeat(&error);
        }
    }

    async fn attempt<R: DeserializeOwned>(
        &mut self,
        call: &Call<'_>,
        patience: Duration,
    ) -> Result<R, ClientError> {
        let mut session = self.take_session().await?;
        let reply = session.call(call, patience).await?;
        self.session = Some(session);
        Ok(reply)
    }

    async fn stream<M: StreamMode>(&mut self) -> Result<Stream<'_, M>, ClientError> {
        self.session = Some(self.switched::<M>().await?);
        Ok(Stream::new(self))
    }

    /// A session in the mode.
    async fn switched<M: StreamMode>(&mut self) -> Result<Session, ClientError> {
        let mut repeats = MAX_REPEATS;
        loop {
            let mut session = self.take_session().await?;
            match session.switch::<M>(self.options.reply_timeout).await {
                Ok(()) => return Ok(session),
                Err(error) if error.is_lost() && repeats > 0 => log_repeat(&error),
                Err(error) => return Err(error),
            }
            repeats -= 1;
        }
    }

    /// Asks a batch of queries; see [`Stream::batch`].
    pub(crate) async fn batch<M: StreamMode, Q: Query<M>>(
        &mut self,
        queries: &[Q],
    ) -> Result<Vec<M::Reply>, ClientError> {
        check_queries(queries)?;
        let mut repeats = MAX_REPEATS;
        loop {
            let mut session = self.switched::<M>().await?;
            match session.batch::<M, Q>(queries, self.options.reply_timeout).await {
                Ok(replies) => {
                    self.session = Some(session);
                    return Ok(replies);
                }
                Err(error) if error.is_lost() && repeats > 0 => log_repeat(&error),
                Err(error) => return Err(error),
            }
            repeats -= 1;
        }
    }

    /// Leaves the stream mode, if the connection is in one; see [`Stream::leave`].
    pub(crate) async fn leave_stream(&mut self) -> Result<(), ClientError> {
        if let Some(mut session) = self.session.take() {
            session.leave(self.options.reply_timeout).await?;
            self.session = Some(session);
        }
        Ok(())
    }

    /// The session at hand, or a new one that is logged in.
    async fn take_session(&mut self) -> Result<Session, ClientError> {
        match self.idle_session().await {
            Some(session) => Ok(session),
            None => self.log_in().await,
        }
    }

    /// The session at hand, unless the server has closed it meanwhile.
    async fn idle_session(&mut self) -> Option<Session> {
        let mut session = self.session.take()?;
        session.is_idle().await.then_some(session)
    }

    async fn dial(&self) -> Result<Session, ClientError> {
        let connection = self.connect.connect().await.map_err(ClientError::Connect)?;
        tracing::debug!(peer = %connection.peer(), "connected");
        let hello = Hello { via: self.options.via.clone(), ..Hello::default() };
        Ok(Session::new(connection, self.options.max_message, &hello))
    }

    /// A new session, logged in and acting as whom it is to act as.
    async fn log_in(&self) -> Result<Session, ClientError> {
        let mut session = self.dial().await?;
        if let Some((username, token)) = &self.options.login {
            let call = Call::Auth(Auth { username: username.as_str().into(), token: token.as_str().into() });
            session.call::<reply::LoggedIn>(&call, self.options.reply_timeout).await?;
        }
        if let Some(username) = &self.options.become_user {
            let call = Call::BecomeUser(UserArgument { username: username.as_str().into() });
            session.call::<reply::User>(&call, self.options.reply_timeout).await?;
        }
        Ok(session)
    }
}

fn log_repeat(error: &ClientError) {
    tracing::debug!(%error, "the connection was lost, the request is repeated on a new one");
}
