//! The subcommands.

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Failure;

mod figures;
mod gc;
mod lookup;
mod maintenance;
mod report;
mod stress;
mod users;

/// Command to run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Get(lookup::Get),
    GetOuthash(lookup::GetOuthash),
    UnihashExists(lookup::UnihashExists),
    Report(Box<report::Report>),
    ReportEquiv(report::ReportEquiv),
    Stats(figures::Stats),
    Ping(figures::Ping),
    Stress(stress::Stress),
    Remove(maintenance::Remove),
    CleanUnused(maintenance::CleanUnused),
    GcStatus(gc::GcStatus),
    GcMark(gc::GcMark),
    GcMarkStream(gc::GcMarkStream),
    GcSweep(gc::GcSweep),
    GetDbUsage(figures::GetDbUsage),
    GetDbQueryColumns(figures::GetDbQueryColumns),
    GetUser(users::GetUser),
    GetAllUsers(users::GetAllUsers),
    NewUser(users::NewUser),
    SetUserPerms(users::SetUserPerms),
    RefreshToken(users::RefreshToken),
    DeleteUser(users::DeleteUser),
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
