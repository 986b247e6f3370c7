//! The one table of commands: their names and properties.
//!
//! Each property is an exhaustive match, so that a new command does not compile until all are decided. Two more
//! tables are exhaustive, too: `Call::command` for clients, and `Handling::of` in the server.

/// A command of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named after the commands, whose replies tell what they do")]
pub enum Command {
    // Ping comes first: of several commands in one message it is the one that is run.
    Ping,
    Get,
    GetOuthash,
    GetStream,
    ExistsStream,
    Report,
    ReportEquiv,
    GetStats,
    ResetStats,
    BackfillWait,
    GetDbUsage,
    GetDbQueryColumns,
    Remove,
    CleanUnused,
    GcMark,
    GcMarkStream,
    GcStatus,
    GcSweep,
    Auth,
    GetUser,
    GetAllUsers,
    BecomeUser,
    NewUser,
    SetUserPerms,
    RefreshToken,
    DeleteUser,
}

impl Command {
    /// All commands, in the order in which one of several in a message is chosen.
    pub const ALL: [Command; 26] = [
        Command::Ping,
        Command::Get,
        Command::GetOuthash,
        Command::GetStream,
        Command::ExistsStream,
        Command::Report,
        Command::ReportEquiv,
        Command::GetStats,
        Command::ResetStats,
        Command::BackfillWait,
        Command::GetDbUsage,
        Command::GetDbQueryColumns,
        Command::Remove,
        Command::CleanUnused,
        Command::GcMark,
        Command::GcMarkStream,
        Command::GcStatus,
        Command::GcSweep,
        Command::Auth,
        Command::GetUser,
        Command::GetAllUsers,
        Command::BecomeUser,
        Command::NewUser,
        Command::SetUserPerms,
        Command::RefreshToken,
        Command::DeleteUser,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Command::Ping => "ping",
            Command::Get => "get",
            Command::GetOuthash => "get-outhash",
            Command::GetStream => "get-stream",
            Command::ExistsStream => "exists-stream",
            Command::Report => "report",
            Command::ReportEquiv => "report-equiv",
            Command::GetStats => "get-stats",
            Command::ResetStats => "reset-stats",
            Command::BackfillWait => "backfill-wait",
            Command::GetDbUsage => "get-db-usage",
            Command::GetDbQueryColumns => "get-db-query-columns",
            Command::Remove => "remove",
            Command::CleanUnused => "clean-unused",
            Command::GcMark => "gc-mark",
            Command::GcMarkStream => "gc-mark-stream",
            Command::GcStatus => "gc-status",
            Command::GcSweep => "gc-sweep",
            Command::Auth => "auth",
            Command::GetUser => "get-user",
            Command::GetAllUsers => "get-all-users",
            Command::BecomeUser => "become-user",
            Command::NewUser => "new-user",
            Command::SetUserPerms => "set-user-perms",
            Command::RefreshToken => "refresh-token",
            Command::DeleteUser => "delete-user",
        }
    }

    /// Effect of a repetition after the connection was lost before the reply arrived.
    #[must_use]
    pub fn repetition(self) -> Repetition {
        match self {
            Command::Ping
            | Command::Get
            | Command::GetOuthash
            | Command::GetStream
            | Command::ExistsStream
            | Command::Report
            | Command::ReportEquiv
            | Command::GetStats
            | Command::BackfillWait
            | Command::GetDbUsage
            | Command::GetDbQueryColumns
            | Command::GcStatus
            | Command::Auth
            | Command::GetUser
            | Command::GetAllUsers
            | Command::BecomeUser
            | Command::SetUserPerms => Repetition::Harmless,
            Command::GcMark | Command::GcMarkStream => Repetition::HarmlessUnlessConditionOnMark,
            Command::ResetStats
            | Command::Remove
            | Command::CleanUnused
            | Command::GcSweep
            | Command::NewUser
            | Command::RefreshToken
            | Command::DeleteUser => Repetition::Harmful,
        }
    }

    /// Time that a server needs for the reply.
    #[must_use]
    pub fn latency(self) -> Latency {
        match self {
            Command::Ping | Command::Get | Command::GetOuthash => Latency::Immediate,
            Command::GetStream
            | Command::ExistsStream
            | Command::Report
            | Command::ReportEquiv
            | Command::GetStats
            | Command::ResetStats
            | Command::GetDbQueryColumns
            | Command::Auth
            | Command::GetUser
            | Command::GetAllUsers
            | Command::BecomeUser
            | Command::SetUserPerms
            | Command::DeleteUser => Latency::Short,
            Command::NewUser | Command::RefreshToken => Latency::Queued,
            Command::BackfillWait
            | Command::GetDbUsage
            | Command::Remove
            | Command::CleanUnused
            | Command::GcMark
            | Command::GcMarkStream
            | Command::GcStatus
            | Command::GcSweep => Latency::Unbounded,
        }
    }

    /// Reports whether the time to a reply depends on how much the server has stored, or has to wait for. In a
    /// stream mode it is the reply to a line that is meant.
    #[must_use]
    pub fn is_maintenance(self) -> bool {
        self.latency() == Latency::Unbounded
    }

    /// Permissions that the caller needs.
    #[must_use]
    pub fn access(self) -> Access {
        match self {
            Command::Ping | Command::Auth => Access::Anyone,
            Command::Get
            | Command::GetOuthash
            | Command::GetStream
            | Command::ExistsStream
            | Command::Report
            | Command::GetStats
            | Command::BackfillWait => Access::Read,
            Command::ReportEquiv => Access::ReadAndReport,
            Command::ResetStats
            | Command::GetDbUsage
            | Command::GetDbQueryColumns
            | Command::Remove
            | Command::CleanUnused
            | Command::GcMark
            | Command::GcMarkStream
            | Command::GcStatus
            | Command::GcSweep => Access::DatabaseAdmin,
            Command::GetAllUsers | Command::BecomeUser | Command::NewUser | Command::SetUserPerms => {
                Access::UserAdmin
            }
            Command::GetUser | Command::RefreshToken | Command::DeleteUser => Access::SelfOrUserAdmin,
        }
    }

    /// Reports whether a read-only server offers the command.
    #[must_use]
    pub fn is_offered_read_only(self) -> bool {
        match self {
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
            | Command::BecomeUser => true,
            Command::ReportEquiv
            | Command::ResetStats
            | Command::BackfillWait
            | Command::Remove
            | Command::CleanUnused
            | Command::GcMark
            | Command::GcMarkStream
            | Command::GcStatus
            | Command::GcSweep
            | Command::NewUser
            | Command::SetUserPerms
            | Command::RefreshToken
            | Command::DeleteUser => false,
        }
    }

    /// Reports whether clients manage without the command where an older server lacks it. Such a server closes
    /// the connection without a reply.
    #[must_use]
    pub fn has_substitute(self) -> bool {
        match self {
            Command::GetDbQueryColumns | Command::GcMarkStream => true,
            Command::Ping
            | Command::Get
            | Command::GetOuthash
            | Command::GetStream
            | Command::ExistsStream
            | Command::Report
            | Command::ReportEquiv
            | Command::GetStats
            | Command::ResetStats
            | Command::BackfillWait
            | Command::GetDbUsage
            | Command::Remove
            | Command::CleanUnused
            | Command::GcMark
            | Command::GcStatus
            | Command::GcSweep
            | Command::Auth
            | Command::GetUser
            | Command::GetAllUsers
            | Command::BecomeUser
            | Command::NewUser
            | Command::SetUserPerms
            | Command::RefreshToken
            | Command::DeleteUser => false,
        }
    }

    /// The command of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Command::ALL.into_iter().find(|command| command.name() == name)
    }
}

/// Effect of a command that runs a second time because the reply to the first run was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// The state ends the same, and the second reply is what the first one would have been.
    Harmless,
    /// As [`Harmless`](Repetition::Harmless), unless a condition is on the mark, which the first run changes.
    HarmlessUnlessConditionOnMark,
    /// The second run does something else, or its reply hides what the first one did.
    Harmful,
}

/// Time that a server needs for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// So little that the replies before it can be sent together with it.
    Immediate,
    /// The time of some short database statements.
    Short,
    /// The time until it is the caller's turn: servers hand out few tokens a second.
    Queued,
    /// A time that depends on how much the server has stored, or has to wait for.
    Unbounded,
}

/// Permissions that a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// None.
    Anyone,
    /// `@read`.
    Read,
    /// `@read` and `@report`.
    ReadAndReport,
    /// `@db-admin`.
    DatabaseAdmin,
    /// `@user-admin`.
    UserAdmin,
    /// `@user-admin`, unless the command is about the user who calls.
    SelfOrUserAdmin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name() {
        for command in Command::ALL {
            assert_eq!(Command::from_name(command.name()), Some(command));
        }
        assert_eq!(Command::from_name("PING"), None);
    }
}
