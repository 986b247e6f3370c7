//! From rows of the tables to our types, on every backend.

use hashserv_storage::{Details, OuthashRow, Timestamp, UnifiedRow, Unihash, UserRecord};
use sqlx::{FromRow, Row};

/// A row of one backend, and what the mapping needs of it.
pub(crate) trait TableRow: Row {
    /// A number that is never NULL.
    fn number(&self, column: &str) -> Result<i64, sqlx::Error>;
    /// A text that is never NULL.
    fn text(&self, column: &str) -> Result<String, sqlx::Error>;
    /// A text that may be NULL.
    fn optional_text(&self, column: &str) -> Result<Option<String>, sqlx::Error>;
    /// The column `created`, which each backend keeps in its own form.
    fn created(&self) -> Result<Option<Timestamp>, sqlx::Error>;
}

pub(crate) struct Outhash(pub(crate) OuthashRow);
pub(crate) struct Unified(pub(crate) UnifiedRow);
pub(crate) struct User(pub(crate) UserRecord);

impl<R: TableRow> FromRow<'_, R> for Outhash {
    fn from_row(row: &R) -> Result<Self, sqlx::Error> {
        Ok(Outhash(OuthashRow {
            id: row.number("id")?,
            method: row.text("method")?,
            taskhash: row.text("taskhash")?,
            outhash: row.text("outhash")?,
            created: row.created()?,
            details: Details {
                owner: row.optional_text("owner")?,
                pn: row.optional_text("PN")?,
                pv: row.optional_text("PV")?,
                pr: row.optional_text("PR")?,
                task: row.optional_text("task")?,
                outhash_siginfo: row.optional_text("outhash_siginfo")?,
            },
        }))
    }
}

impl<R: TableRow> FromRow<'_, R> for Unified {
    fn from_row(row: &R) -> Result<Self, sqlx::Error> {
        Ok(Unified(UnifiedRow {
            report: Outhash::from_row(row)?.0,
            unihash: Unihash::from_stored(&row.text("unihash")?),
            gc_mark: row.text("gc_mark")?,
        }))
    }
}

impl<R: TableRow> FromRow<'_, R> for User {
    fn from_row(row: &R) -> Result<Self, sqlx::Error> {
        Ok(User(UserRecord {
            id: row.number("id")?,
            name: row.text("username")?,
            token_hash: row.text("token")?,
            permissions: row.text("permissions")?,
        }))
    }
}
