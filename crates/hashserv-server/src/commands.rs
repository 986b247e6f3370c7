//! Dispatch: the part of the server that answers each command.

pub(crate) mod access;
pub(crate) mod convert;
pub(crate) mod exchange;
mod figures;
mod lookup;
mod maintenance;
pub(crate) mod report;
mod users;

use futures_util::future::BoxFuture;
use hashserv_protocol::reply::Reply;
use hashserv_protocol::stream::StreamMode;
use hashserv_protocol::{Command, Latency};

use access::check_access;
use exchange::Exchange;

use crate::refusal::{Fault, Refused};

/// A function that turns a request into a reply, after the permissions were checked.
///
/// Its future is boxed, so that idle sessions do not hold the room that the largest handler needs.
pub(crate) type Handler = for<'a, 'b> fn(&'a mut Exchange<'b>) -> BoxFuture<'a, Result<Reply, Fault>>;

/// The part of the server that answers a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handling {
    /// The session, which records consecutive reports together.
    Report,
    /// The session, which switches to the mode.
    Stream(StreamMode),
    /// A handler. With an upstream, consecutive look-ups wait for it together.
    Lookup(Handler),
    /// A handler. Each request is answered before the next is read.
    Single(Handler),
}

/// Makes a [`Handler`] of an asynchronous function that returns a value from which a [`Reply`] is made.
macro_rules! handler {
    ($function:path) => {
        |exchange| Box::pin(async move { Ok($function(exchange).await?.into()) })
    };
}

impl Handling {
    /// Returns the part of the server that answers the command.
    pub(crate) fn of(command: Command) -> Self {
        match command {
            Command::Ping => Handling::Single(|_| Box::pin(async { Ok(lookup::ping().into()) })),
            Command::Get => Handling::Lookup(handler!(lookup::get)),
            Command::GetOuthash => Handling::Lookup(handler!(lookup::get_outhash)),
            Command::GetStream => Handling::Stream(StreamMode::Get),
            Command::ExistsStream => Handling::Stream(StreamMode::Exists),
            Command::Report => Handling::Report,
            Command::ReportEquiv => Handling::Single(handler!(report::report_equiv)),
            Command::GetStats => Handling::Single(handler!(figures::get_stats)),
            Command::ResetStats => Handling::Single(handler!(figures::reset_stats)),
            Command::BackfillWait => Handling::Single(handler!(figures::backfill_wait)),
            Command::GetDbUsage => Handling::Single(handler!(figures::get_db_usage)),
            Command::GetDbQueryColumns => {
                Handling::Single(|_| Box::pin(async { Ok(figures::get_db_query_columns().into()) }))
            }
            Command::Remove => Handling::Single(handler!(maintenance::remove)),
            Command::CleanUnused => Handling::Single(handler!(maintenance::clean_unused)),
            Command::GcMark => Handling::Single(handler!(maintenance::gc_mark)),
            Command::GcMarkStream => Handling::Stream(StreamMode::GcMark),
            Command::GcStatus => Handling::Single(handler!(maintenance::gc_status)),
            Command::GcSweep => Handling::Single(handler!(maintenance::gc_sweep)),
            Command::Auth => Handling::Single(handler!(users::auth)),
            Command::GetUser => Handling::Single(handler!(users::get_user)),
            Command::GetAllUsers => Handling::Single(handler!(users::get_all_users)),
            Command::BecomeUser => Handling::Single(handler!(users::become_user)),
            Command::NewUser => Handling::Single(handler!(users::new_user)),
            Command::SetUserPerms => Handling::Single(handler!(users::set_user_perms)),
            Command::RefreshToken => Handling::Single(handler!(users::refresh_token)),
            Command::DeleteUser => Handling::Single(handler!(users::delete_user)),
        }
    }
}

/// Refuses a command that a read-only server does not offer.
pub(crate) fn check_offered(command: Command, is_read_only: bool) -> Result<(), Refused> {
    if is_read_only && !command.is_offered_read_only() {
        let message = format!("Unknown command '{}': this server is read-only", command.name());
        return Err(Refused::new(message));
    }
    Ok(())
}

/// Reports whether replies that were encoded before can wait for that to the command.
pub(crate) fn is_answered_at_once(command: Command) -> bool {
    command.latency() == Latency::Immediate
}

/// Reports whether the caller stands in a queue, which it leaves with its connection.
pub(crate) fn waits_for_turn(command: Command) -> bool {
    command.latency() == Latency::Queued
}

/// Checks the permissions of the caller, which come before the arguments, and has the request handled.
pub(crate) async fn answer(exchange: &mut Exchange<'_>, handler: Handler) -> Result<Reply, Fault> {
    let access = exchange.request.command().access();
    check_access(exchange.shared.service.accounts(), exchange.caller, access).await?;
    handler(exchange).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_stream_modes_switch_to_them() {
        for mode in [StreamMode::Get, StreamMode::Exists, StreamMode::GcMark] {
            assert!(matches!(Handling::of(mode.command()), Handling::Stream(found) if found == mode));
        }
    }
}
