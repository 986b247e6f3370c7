//! What the commands take.
//!
//! Each type serves both sides: clients write it, servers read it. Reading is strict about types, and
//! ignores unknown keys. Hashes, methods, names and marks are bounded (see [`MAX_KEY`](crate::MAX_KEY) and
//! [`MAX_DETAIL`](crate::MAX_DETAIL)): they enter queues that all callers share.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Secret, Text, bounded};

/// For commands that take nothing: written as `null`; whatever is sent is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Nothing;

/// For `get`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task<'a> {
    /// The method of the hash.
    #[serde(borrow, deserialize_with = "bounded::method")]
    pub method: Text<'a>,
    /// The task that is looked up.
    #[serde(borrow, deserialize_with = "bounded::taskhash")]
    pub taskhash: Text<'a>,
    /// Whether the full row of its oldest report is wanted, or only its unihash.
    #[serde(default)]
    pub all: bool,
}

/// For `get-outhash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output<'a> {
    /// The method of the hashes.
    #[serde(borrow, deserialize_with = "bounded::method")]
    pub method: Text<'a>,
    /// The output that is looked up.
    #[serde(borrow, deserialize_with = "bounded::outhash")]
    pub outhash: Text<'a>,
    /// The task that the asking is about. It does not restrict the search.
    #[serde(borrow, deserialize_with = "bounded::taskhash")]
    pub taskhash: Text<'a>,
    /// Whether only reports count whose task has a unihash.
    #[serde(default = "yes")]
    pub with_unihash: bool,
}

fn yes() -> bool {
    true
}

/// For `report`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report<'a> {
    /// The hash of the task's inputs.
    #[serde(borrow, deserialize_with = "bounded::taskhash")]
    pub taskhash: Text<'a>,
    /// The method of the hashes.
    #[serde(borrow, deserialize_with = "bounded::method")]
    pub method: Text<'a>,
    /// The hash of the task's output.
    #[serde(borrow, deserialize_with = "bounded::outhash")]
    pub outhash: Text<'a>,
    /// The unihash for the task, should it have none and nobody else have reported the output.
    #[serde(borrow, deserialize_with = "bounded::unihash")]
    pub unihash: Text<'a>,
    /// Who reports.
    #[serde(borrow, default, deserialize_with = "bounded::owner", skip_serializing_if = "Option::is_none")]
    pub owner: Option<Text<'a>>,
    /// The recipe's name.
    #[serde(
        borrow,
        default,
        deserialize_with = "bounded::pn",
        rename = "PN",
        skip_serializing_if = "Option::is_none"
    )]
    pub pn: Option<Text<'a>>,
    /// The recipe's version.
    #[serde(
        borrow,
        default,
        deserialize_with = "bounded::pv",
        rename = "PV",
        skip_serializing_if = "Option::is_none"
    )]
    pub pv: Option<Text<'a>>,
    /// The recipe's revision.
    #[serde(
        borrow,
        default,
        deserialize_with = "bounded::pr",
        rename = "PR",
        skip_serializing_if = "Option::is_none"
    )]
    pub pr: Option<Text<'a>>,
    /// The task's name.
    #[serde(borrow, default, deserialize_with = "bounded::task", skip_serializing_if = "Option::is_none")]
    pub task: Option<Text<'a>>,
    /// The full text of what was hashed.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub outhash_siginfo: Option<Text<'a>>,
}

/// For `report-equiv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivalence<'a> {
    /// The task.
    #[serde(borrow, deserialize_with = "bounded::taskhash")]
    pub taskhash: Text<'a>,
    /// The method of the hashes.
    #[serde(borrow, deserialize_with = "bounded::method")]
    pub method: Text<'a>,
    /// The unihash for the task, should it have none.
    #[serde(borrow, deserialize_with = "bounded::unihash")]
    pub unihash: Text<'a>,
}

/// The conditions of `remove` and `gc-mark`: names of columns and the values that they must have.
///
/// A value that is `null` is no condition, nor is an unknown column; what counts as a wrong type is for the
/// server to say, which knows the columns.
pub type Where<'a> = BTreeMap<Cow<'a, str>, Value>;

/// For `remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove<'a> {
    /// Which rows to remove.
    #[serde(borrow, rename = "where")]
    pub conditions: Where<'a>,
}

/// For `gc-mark`, and a line in `gc-mark-stream`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcMark<'a> {
    /// The mark.
    #[serde(borrow, deserialize_with = "bounded::mark")]
    pub mark: Text<'a>,
    /// Which unihashes to mark.
    #[serde(borrow, rename = "where")]
    pub conditions: Where<'a>,
}

/// For `gc-sweep`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcSweep<'a> {
    /// The mark of what is kept.
    #[serde(borrow, deserialize_with = "bounded::mark")]
    pub mark: Text<'a>,
}

/// For `clean-unused`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CleanUnused {
    /// How old reports must be to be removed, in seconds.
    pub max_age_seconds: f64,
}

/// For `auth`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth<'a> {
    /// The name to log in with.
    #[serde(borrow, deserialize_with = "bounded::username")]
    pub username: Text<'a>,
    /// The secret.
    #[serde(borrow, deserialize_with = "bounded::token")]
    pub token: Secret<Text<'a>>,
}

/// For commands about one user: `become-user`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User<'a> {
    /// The user's name.
    #[serde(borrow, deserialize_with = "bounded::username")]
    pub username: Text<'a>,
}

/// For commands about one user, or oneself: `get-user`, `refresh-token`, `delete-user`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserOrSelf<'a> {
    /// The user's name; without it, who is logged in.
    #[serde(
        borrow,
        default,
        deserialize_with = "bounded::optional_username",
        skip_serializing_if = "Option::is_none"
    )]
    pub username: Option<Text<'a>>,
}

/// For `new-user` and `set-user-perms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPermissions<'a> {
    /// The user's name.
    #[serde(borrow, deserialize_with = "bounded::username")]
    pub username: Text<'a>,
    /// Names of permissions: a list of strings, though a server reads whatever comes to explain it.
    pub permissions: Value,
}
