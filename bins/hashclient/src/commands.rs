//! The subcommands.

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;

mod clean_unused;
mod delete_user;
mod gc_mark;
mod gc_mark_stream;
mod gc_status;
mod gc_sweep;
mod get;
mod get_all_users;
mod get_db_query_columns;
mod get_db_usage;
mod get_outhash;
mod get_user;
mod new_user;
mod ping;
mod refresh_token;
mod remove;
mod report;
mod report_equiv;
mod set_user_perms;
mod stats;
mod stress;
mod unihash_exists;
mod user;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(get::Get),
    GetOuthash(get_outhash::GetOuthash),
    UnihashExists(unihash_exists::UnihashExists),
    Report(Box<report::Report>),
    ReportEquiv(report_equiv::ReportEquiv),
    Stats(stats::Stats),
    Ping(ping::Ping),
    Stress(stress::Stress),
    Remove(remove::Remove),
    CleanUnused(clean_unused::CleanUnused),
    GcStatus(gc_status::GcStatus),
    GcMark(gc_mark::GcMark),
    GcMarkStream(gc_mark_stream::GcMarkStream),
    GcSweep(gc_sweep::GcSweep),
    GetDbUsage(get_db_usage::GetDbUsage),
    GetDbQueryColumns(get_db_query_columns::GetDbQueryColumns),
    GetUser(get_user::GetUser),
    GetAllUsers(get_all_users::GetAllUsers),
    NewUser(new_user::NewUser),
    SetUserPerms(set_user_perms::SetUserPerms),
    RefreshToken(refresh_token::RefreshToken),
    DeleteUser(delete_user::DeleteUser),
}

impl Command {
    /// Does it, and returns the exit status.
    pub(crate) async fn run(self, context: &mut Context) -> Result<ExitCode, Failure> {
        match self {
            Command::UnihashExists(command) => return command.run(context).await,
            Command::Get(command) => command.run(context).await,
            Command::GetOuthash(command) => command.run(context).await,
            Command::Report(command) => command.run(context).await,
            Command::ReportEquiv(command) => command.run(context).await,
            Command::Stats(command) => command.run(context).await,
            Command::Ping(command) => command.run(context).await,
            Command::Stress(command) => command.run(context).await,
            Command::Remove(command) => command.run(context).await,
            Command::CleanUnused(command) => command.run(context).await,
            Command::GcStatus(command) => command.run(context).await,
            Command::GcMark(command) => command.run(context).await,
            Command::GcMarkStream(command) => command.run(context).await,
            Command::GcSweep(command) => command.run(context).await,
            Command::GetDbUsage(command) => command.run(context).await,
            Command::GetDbQueryColumns(command) => command.run(context).await,
            Command::GetUser(command) => command.run(context).await,
            Command::GetAllUsers(command) => command.run(context).await,
            Command::NewUser(command) => command.run(context).await,
            Command::SetUserPerms(command) => command.run(context).await,
            Command::RefreshToken(command) => command.run(context).await,
            Command::DeleteUser(command) => command.run(context).await,
        }?;
        Ok(ExitCode::SUCCESS)
    }
}
