//! What servers answer in normal mode.
//!
//! Each type serves both sides: servers write it, clients read it. A reply that may be `null` is an
//! [`Option`] of its type.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Secret;

/// A reply of any command, as servers write it with [`encode_message`](crate::encode_message).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "named after the types that they hold")]
pub enum Reply {
    Alive(Alive),
    TaskUnihash(TaskUnihash),
    FoundUnihash(Option<TaskUnihash>),
    FoundRow(Option<Box<Row>>),
    Stats(Stats),
    Backfill(Backfill),
    DbUsage(DbUsage),
    Columns(Columns),
    Count(Count),
    GcStatus(GcStatus),
    LoggedIn(LoggedIn),
    User(User),
    FoundUser(Option<User>),
    Users(Users),
    NewUser(NewUser),
    NewToken(NewToken),
    DeletedUser(DeletedUser),
    /// To a command that switches to a stream mode: the text `"ok"`.
    Switched(&'static str),
    Refusal(Refusal),
}

/// Makes replies of the values that commands return.
macro_rules! replies {
    ($($value:ty => $reply:ident),* $(,)?) => {$(
        impl From<$value> for Reply {
            fn from(value: $value) -> Self {
                Reply::$reply(value)
            }
        }
    )*};
}

replies! {
    Alive => Alive,
    TaskUnihash => TaskUnihash,
    Option<TaskUnihash> => FoundUnihash,
    Option<Box<Row>> => FoundRow,
    Stats => Stats,
    Backfill => Backfill,
    DbUsage => DbUsage,
    Columns => Columns,
    Count => Count,
    GcStatus => GcStatus,
    LoggedIn => LoggedIn,
    User => User,
    Option<User> => FoundUser,
    Users => Users,
    NewUser => NewUser,
    NewToken => NewToken,
    DeletedUser => DeletedUser,
    Refusal => Refusal,
}

/// To `ping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Always true.
    pub alive: bool,
}

/// To `get`, `report` and `report-equiv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskUnihash {
    /// The task.
    pub taskhash: String,
    /// The method of the hashes.
    pub method: String,
    /// The unihash that the task has.
    pub unihash: String,
}

/// To `get-outhash`, and to `get` with `all`: a report, and the unihash of its task if that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The number that the server's database gave to the row.
    pub id: i64,
    /// The method of the hashes.
    pub method: String,
    /// The hash of the task's inputs.
    pub taskhash: String,
    /// The hash of the task's output.
    pub outhash: String,
    /// When it was reported, as ISO 8601.
    pub created: Option<String>,
    /// Who reported it.
    pub owner: Option<String>,
    /// The recipe's name.
    #[serde(rename = "PN")]
    pub pn: Option<String>,
    /// The recipe's version.
    #[serde(rename = "PV")]
    pub pv: Option<String>,
    /// The recipe's revision.
    #[serde(rename = "PR")]
    pub pr: Option<String>,
    /// The task's name.
    pub task: Option<String>,
    /// The full text of what was hashed.
    pub outhash_siginfo: Option<String>,
    /// The unihash of the task; missing where it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unihash: Option<String>,
    /// The mark of the garbage collection that keeps the unihash; missing where that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_mark: Option<String>,
}

/// To `get-stats` and `reset-stats`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Of all requests, stream lines among them.
    pub requests: RequestStats,
}

/// Figures of requests since the server was started or the figures were reset; times in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestStats {
    /// How many there were.
    pub num: u64,
    /// How long they took together.
    pub total_time: f64,
    /// How long the longest took.
    pub max_time: f64,
    /// How long one took on average.
    pub average: f64,
    /// The standard deviation of how long one took.
    pub stdev: f64,
}

/// To `backfill-wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// How many entries from the upstream were still to be written when asked.
    pub tasks: u64,
}

/// To `get-db-usage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbUsage {
    /// By the name of the table.
    pub usage: BTreeMap<String, TableUsage>,
}

/// Figures of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableUsage {
    /// How many rows it has.
    pub rows: u64,
}

/// To `get-db-query-columns`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// The names that conditions may use.
    pub columns: Vec<String>,
}

/// To `remove`, `clean-unused`, `gc-mark`, `gc-sweep`, and a line in `gc-mark-stream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How many rows it was about.
    pub count: u64,
}

/// To `gc-status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcStatus {
    /// How many unihashes would be kept.
    pub keep: u64,
    /// How many would be removed.
    pub remove: u64,
    /// The current mark; `null` where no collection is in progress.
    pub mark: Option<String>,
}

/// To `auth`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedIn {
    /// Always true.
    pub result: bool,
    /// Who is logged in.
    pub username: String,
    /// The permissions as they are stored, sorted.
    pub permissions: Vec<String>,
}

/// To `get-user`, `become-user`, `set-user-perms`, and part of [`Users`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's name.
    pub username: String,
    /// What the user may do, sorted, `@all` spelt out.
    pub permissions: Vec<String>,
}

/// To `get-all-users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// All there are.
    pub users: Vec<User>,
}

/// To `new-user`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    /// The user's name.
    pub username: String,
    /// What the user may do, sorted, `@all` spelt out.
    pub permissions: Vec<String>,
    /// The secret to log in with; it is told this once.
    pub token: Secret,
}

/// To `refresh-token`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// The user's name.
    pub username: String,
    /// The secret to log in with; it is told this once.
    pub token: Secret,
}

/// To `delete-user`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedUser {
    /// The user's name.
    pub username: String,
}

/// To a request that is refused. The server closes the connection afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    #[serde(rename = "invoke-error")]
    pub error: RefusalReason,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalReason {
    /// For a person.
    pub message: String,
}

impl Refusal {
    /// A refusal with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Refusal { error: RefusalReason { message: message.into() } }
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_written_as_the_value_that_it_holds() {
        for (reply, text) in [
            (Reply::from(Alive { alive: true }), r#"{"alive":true}"#),
            (Reply::FoundUnihash(None), "null"),
            (Reply::Switched(crate::stream::OK), "\"ok\""),
            (Refusal::new("no").into(), r#"{"invoke-error":{"message":"no"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&reply).unwrap(), text);
        }
    }
}
