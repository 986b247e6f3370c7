//! The client: connections, who is logged in, and retries.

use std::fmt;
use std::time::Duration;

use hashserv_protocol::arguments::User as UserArgument;
use hashserv_protocol::{Call, Command, reply};
use serde::de::DeserializeOwned;

use crate::doubt::{doubt, in_doubt};
use crate::options::ClientOptions;
use crate::pipeline::{
    BatchReceiver, BatchSender, CallReceiver, CallSender, QuerySender, ReplyReceiver, batch_halves,
    call_halves, halves,
};
use crate::retry::{Attempts, Retry};
use crate::session::Session;
use crate::stream::{Query, StreamMode};
use crate::writer::check_queries;
use crate::{ClientError, Connect, Login, Target};

mod commands;
mod connecting;
#[cfg(test)]
mod tests;

/// A client of one server, over one connection at a time.
///
/// After an error, and after a call whose future was dropped, the next call dials a new connection, logs in
/// and becomes the user again. Dropping any of its futures is safe in so far: no later call gets a reply that
/// was meant for an earlier one. Whether the server did what a dropped call asked for is not known.
///
/// A call whose connection was lost before the reply came is repeated, at once and up to three times, or as
/// [`ClientOptions::retry_window`] says. Calls that would do something else the second time are not repeated:
/// [`remove`](Client::remove), [`clean_unused`](Client::clean_unused), [`gc_sweep`](Client::gc_sweep),
/// [`reset_stats`](Client::reset_stats), [`new_user`](Client::new_user),
/// [`refresh_token`](Client::refresh_token), [`delete_user`](Client::delete_user), and
/// [`gc_mark`](Client::gc_mark) with a condition on `gc_mark`. None is repeated after a refusal or a timeout.
/// Connecting and logging in are attempted again for every call, since the request was not sent yet.
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
    /// Connects to a server, and logs in where the options say so.
    ///
    /// `target` is an address as text, such as `"wss://hashserv.example.com/ws"`, an
    /// [`Address`](crate::Address), or a [`Target`] for a [`Dialer`](crate::Dialer) with options of its own, which
    /// several clients may share.
    ///
    /// The handshake travels along with the first request. Cancellation safe: a connection that is not finished
    /// is dropped.
    ///
    /// # Errors
    ///
    /// [`ClientError::Address`] if the text is not an address; [`ClientError::Connect`] if there is no server to
    /// be reached; if there is a login, those of [`auth`](Client::auth) too.
    pub async fn connect<T>(target: T, options: ClientOptions) -> Result<Self, ClientError>
    where
        T: TryInto<Target>,
        ClientError: From<T::Error>,
    {
        let mut client = Client::new(target.try_into()?, options);
        client.session = Some(client.connected_session(&mut client.retry()).await?);
        Ok(client)
    }

    /// A client that connects with its first call.
    pub fn new(connect: impl Connect + 'static, options: ClientOptions) -> Self {
        Client { connect: Box::new(connect), options, session: None }
    }

    /// Closes the connection in good order, which takes a second at most. A client that is dropped resets it,
    /// which a server may log.
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
    pub async fn auth(&mut self, login: Login) -> Result<reply::User, ClientError> {
        let call = login.call();
        let mut retry = self.retry();
        let reply = loop {
            match self.try_auth(&call).await {
                Ok(reply) => break reply,
                Err(error) if retry.again(&error).await => {}
                Err(error) => return Err(error),
            }
        };
        self.options.login = Some(login);
        self.options.become_user = None;
        Ok(reply::User { username: reply.username, permissions: reply.permissions })
    }

    async fn try_auth(&mut self, call: &Call<'_>) -> Result<reply::LoggedIn, ClientError> {
        // A new login replaces the old one, which therefore need not be valid any more.
        let session = match self.idle_session().await {
            Some(session) => session,
            None => self.dial().await?,
        };
        self.exchange(session, call, self.options.reply_timeout).await
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

    /// Gives the connection away as a stream in two halves, for queries that go out while the replies to
    /// earlier ones are awaited. The halves must run side by side, see [`pipeline`](crate::pipeline). The next
    /// call of the client dials a new connection. A cancelled call costs the connection.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/server.rs")); }
    /// use hashserv_client::stream::Get;
    /// use hashserv_client::{Client, ClientError};
    ///
    /// async fn look_up(client: &mut Client, tasks: &[(&str, &str)]) -> Result<usize, ClientError> {
    ///     let (mut sender, mut receiver) = client.pipeline::<Get>().await?;
    ///     let sending = async {
    ///         for batch in tasks.chunks(1000) {
    ///             sender.send(batch).await?;
    ///         }
    ///         Ok::<(), ClientError>(())
    ///     };
    ///     let receiving = async {
    ///         let (mut found, mut received) = (0, 0);
    ///         while received < tasks.len() {
    ///             let mut replies = Vec::new();
    ///             receiver.receive(&mut replies, tasks.len() - received).await?;
    ///             received += replies.len();
    ///             found += replies.iter().flatten().count();
    ///         }
    ///         Ok(found)
    ///     };
    ///     let ((), found) = tokio::try_join!(sending, receiving)?;
    ///     sender.close_with(receiver).await;
    ///     Ok(found)
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let mut client = Client::connect(&*server::start().await, Default::default()).await.unwrap();
    /// # let tasks = vec![("m", server::KNOWN); 100_000];
    /// # assert_eq!(look_up(&mut client, &tasks).await.unwrap(), 100_000);
    /// # }
    /// ```
    pub async fn pipeline<M: StreamMode>(
        &mut self,
    ) -> Result<(QuerySender<M>, ReplyReceiver<M>), ClientError> {
        let session = self.begun_session::<M>().await?;
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
        let session = self.begun_session::<M>().await?;
        let framing = session.framing();
        let (writer, reader) = session.into_halves();
        Ok(batch_halves(writer, reader, framing))
    }

    /// Gives the connection away in normal mode in two halves, for requests that go out while the replies to
    /// earlier ones are awaited. The next call of the client dials a new connection. A cancelled call costs
    /// the connection.
    pub async fn call_pipeline(&mut self) -> Result<(CallSender, CallReceiver), ClientError> {
        let mut session = self.any_session(&mut self.retry()).await?;
        session.leave(self.options.reply_timeout).await?;
        let framing = session.framing();
        let (writer, reader) = session.into_halves();
        Ok(call_halves(writer, reader, framing))
    }

    /// Sends one request and returns its reply.
    async fn call<R: DeserializeOwned>(&mut self, call: &Call<'_>) -> Result<R, ClientError> {
        let command = call.command();
        let mut retry = self.retry();
        let mut was_sent = false;
        loop {
            let session = match self.any_session(&mut retry).await {
                Err(error) if was_sent => return Err(doubt(command, call.is_repeatable(), error)),
                session => session?,
            };
            was_sent = true;
            let error = match self.exchange(session, call, self.patience(command)).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if !call.is_repeatable() || !retry.again_with(&error, attempts(command)).await {
                return Err(in_doubt(command, call.is_repeatable(), error));
            }
        }
    }

    /// Sends one request over the session, which is kept unless this fails.
    async fn exchange<R: DeserializeOwned>(
        &mut self,
        mut session: Session,
        call: &Call<'_>,
        patience: Duration,
    ) -> Result<R, ClientError> {
        match session.call(call, patience).await {
            Ok(reply) => {
                self.session = Some(session);
                Ok(reply)
            }
            Err(error) => {
                session.close_after(&error).await;
                Err(error)
            }
        }
    }

    /// Switches the connection to the mode.
    pub(crate) async fn enter_stream<M: StreamMode>(&mut self) -> Result<(), ClientError> {
        self.session = Some(self.begun_session::<M>().await?);
        Ok(())
    }

    /// A session in the mode, which the server may lack.
    async fn begun_session<M: StreamMode>(&mut self) -> Result<Session, ClientError> {
        let mut retry = self.retry();
        self.switched_session::<M>(&mut retry, attempts(M::COMMAND)).await
    }

    /// A session in the mode.
    async fn switched_session<M: StreamMode>(
        &mut self,
        retry: &mut Retry,
        attempts: Attempts,
    ) -> Result<Session, ClientError> {
        loop {
            let mut session = self.any_session(retry).await?;
            match session.switch::<M>(self.options.reply_timeout).await {
                Ok(()) => return Ok(session),
                Err(error) => {
                    session.close_after(&error).await;
                    if !retry.again_with(&error, attempts).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Asks a batch of queries; see [`Stream`](crate::stream::Stream).
    pub(crate) async fn batch<M: StreamMode, Q: Query<M>>(
        &mut self,
        queries: &[Q],
    ) -> Result<Vec<M::Reply>, ClientError> {
        check_queries(queries)?;
        let is_repeatable = queries.iter().all(Query::is_repeatable);
        let patience = self.patience(M::COMMAND);
        let mut retry = self.retry();
        loop {
            let mut session = self.switched_session::<M>(&mut retry, Attempts::All).await?;
            let error = match session.batch::<M, Q>(queries, patience).await {
                Ok(replies) => {
                    self.session = Some(session);
                    return Ok(replies);
                }
                Err(error) => error,
            };
            session.close_after(&error).await;
            if !is_repeatable || !retry.again(&error).await {
                return Err(in_doubt(M::COMMAND, is_repeatable, error));
            }
        }
    }

    /// Leaves the stream mode, if the connection is in one; see [`Stream::leave`](crate::stream::Stream::leave).
    pub(crate) async fn leave_stream(&mut self) -> Result<(), ClientError> {
        let Some(mut session) = self.session.take() else { return Ok(()) };
        match session.leave(self.options.reply_timeout).await {
            Ok(()) => {
                self.session = Some(session);
                Ok(())
            }
            Err(error) => {
                session.close_after(&error).await;
                Err(error)
            }
        }
    }

    fn retry(&self) -> Retry {
        Retry::new(self.options.retry_window)
    }

    /// Time limit for a reply to the command.
    fn patience(&self, command: Command) -> Duration {
        match command.is_maintenance() {
            true => self.options.maintenance_timeout,
            false => self.options.reply_timeout,
        }
    }
}

/// Attempts at a command, whose lack an older server shows by a close without reply.
fn attempts(command: Command) -> Attempts {
    if command.has_substitute() { Attempts::Immediate } else { Attempts::All }
}
