//! From rows of the tables to our types.

use chrono::NaiveDateTime;
use hashserv_storage::{
    Details, OuthashRow, StoredUnihash, Timestamp, UnifiedRow, Unihash, UnihashEntry, UserRecord,
};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};

pub(crate) struct Outhash(pub(crate) OuthashRow);
pub(crate) struct Unified(pub(crate) UnifiedRow);
pub(crate) struct Stored(pub(crate) StoredUnihash);
pub(crate) struct User(pub(crate) UserRecord);

impl FromRow<'_, PgRow> for Outhash {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let created: Option<NaiveDateTime> = row.try_get("created")?;
        Ok(Outhash(OuthashRow {
            id: row.try_get("id")?,
            method: row.try_get("method")?,
            taskhash: row.try_get("taskhash")?,
            outhash: row.try_get("outhash")?,
            created: created.map(|time| Timestamp::from(time.and_utc())),
            details: Details {
                owner: row.try_get("owner")?,
                pn: row.try_get("PN")?,
                pv: row.try_get("PV")?,
                pr: row.try_get("PR")?,
                task: row.try_get("task")?,
                outhash_siginfo: row.try_get("outhash_siginfo")?,
            },
        }))
    }
}

impl FromRow<'_, PgRow> for Unified {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let unihash: String = row.try_get("unihash")?;
        Ok(Unified(UnifiedRow {
            report: Outhash::from_row(row)?.0,
            unihash: Unihash::from_stored(&unihash),
            gc_mark: row.try_get("gc_mark")?,
        }))
    }
}

impl FromRow<'_, PgRow> for Stored {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let unihash: String = row.try_get("unihash")?;
        let entry = UnihashEntry {
            method: row.try_get("method")?,
            taskhash: row.try_get("taskhash")?,
            unihash: Unihash::from_stored(&unihash),
        };
        Ok(Stored(StoredUnihash { id: row.try_get("id")?, entry }))
    }
}

impl FromRow<'_, PgRow> for User {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(User(UserRecord {
            id: row.try_get("id")?,
            name: row.try_get("username")?,
            token_hash: row.try_get("token")?,
            permissions: row.try_get("permissions")?,
        }))
    }
}
