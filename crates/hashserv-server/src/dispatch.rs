//! Which handler a command goes to.

use hashserv_protocol::{Command, Framing, encode_message};

use crate::handlers::{Exchange, lookup, maintenance, report, statistics, users};
use crate::refusal::{Failed, Fault};

/// Whether a server offers the command. A read-only one does not offer what writes.
pub(crate) fn is_offered(command: Command, read_only: bool) -> bool {
    !read_only
        || matches!(
            command,
            Command::Ping
                | Command::Get
                | Command::GetOuthash
                | Command::GetStream
                | Command::ExistsStream
                | Command::Report
                | Command::GetStats
                | Command::GetDbUsage
                | Command::GetDbQueryColumns
                | Command::Auth
                | Command::GetUser
                | Command::GetAllUsers
                | Command::BecomeUser
        )
}

/// Whether the command is answered at once, so that earlier replies need not be sent before it.
pub(crate) fn is_quick(command: Command) -> bool {
    matches!(command, Command::Ping | Command::Get | Command::GetOuthash)
}

/// Whether the command hands out a token, which there are few of a second.
pub(crate) fn waits_for_its_turn(command: Command) -> bool {
    matches!(command, Command::NewUser | Command::RefreshToken)
}

/// Has a request handled, and appends the reply to `out`. Reports and stream modes do not come here: they
/// are matters of the session.
pub(crate) async fn dispatch(
    exchange: &mut Exchange<'_>,
    framing: Framing,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match exchange.request.command() {
        Command::Ping => encode_message(&lookup::ping(), framing, out)?,
        Command::Get => encode_message(&lookup::get(exchange).await?, framing, out)?,
        Command::GetOuthash => encode_message(&lookup::get_outhash(exchange).await?, framing, out)?,
        Command::ReportEquiv => encode_message(&report::report_equiv(exchange).await?, framing, out)?,
        Command::GetStats => encode_message(&statistics::get_stats(exchange).await?, framing, out)?,
        Command::ResetStats => encode_message(&statistics::reset_stats(exchange).await?, framing, out)?,
        Command::BackfillWait => encode_message(&statistics::backfill_wait(exchange).await?, framing, out)?,
        Command::GetDbUsage => encode_message(&statistics::get_db_usage(exchange).await?, framing, out)?,
        Command::GetDbQueryColumns => {
            encode_message(&statistics::get_db_query_columns(exchange).await?, framing, out)?;
        }
        Command::Remove => encode_message(&maintenance::remove(exchange).await?, framing, out)?,
        Command::CleanUnused => encode_message(&maintenance::clean_unused(exchange).await?, framing, out)?,
        Command::GcMark => encode_message(&maintenance::gc_mark(exchange).await?, framing, out)?,
        Command::GcStatus => encode_message(&maintenance::gc_status(exchange).await?, framing, out)?,
        Command::GcSweep => encode_message(&maintenance::gc_sweep(exchange).await?, framing, out)?,
        Command::Auth => encode_message(&users::auth(exchange).await?, framing, out)?,
        Command::GetUser => encode_message(&users::get_user(exchange).await?, framing, out)?,
        Command::GetAllUsers => encode_message(&users::get_all_users(exchange).await?, framing, out)?,
        Command::BecomeUser => encode_message(&users::become_user(exchange).await?, framing, out)?,
        Command::NewUser => encode_message(&users::new_user(exchange).await?, framing, out)?,
        Command::SetUserPerms => encode_message(&users::set_user_perms(exchange).await?, framing, out)?,
        Command::RefreshToken => encode_message(&users::refresh_token(exchange).await?, framing, out)?,
        Command::DeleteUser => encode_message(&users::delete_user(exchange).await?, framing, out)?,
        Command::Report | Command::GetStream | Command::ExistsStream | Command::GcMarkStream => {
            return Err(Failed::new("a command of the session was dispatched to a handler").into());
        }
    }
    Ok(())
}
