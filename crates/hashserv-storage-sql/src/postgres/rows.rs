//! What is particular about rows of PostgreSQL.

use chrono::NaiveDateTime;
use hashserv_storage::{StoredUnihash, Timestamp, Unihash, UnihashEntry};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};

use crate::rows::TableRow;

impl TableRow for PgRow {
    fn number(&self, column: &str) -> Result<i64, sqlx::Error> {
        self.try_get(column)
    }

    fn text(&self, column: &str) -> Result<String, sqlx::Error> {
        self.try_get(column)
    }

    fn optional_text(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
        self.try_get(column)
    }

    fn created(&self) -> Result<Option<Timestamp>, sqlx::Error> {
        let created: Option<NaiveDateTime> = self.try_get("created")?;
        Ok(created.map(|time| Timestamp::from(time.and_utc())))
    }
}

pub(crate) struct Stored(pub(crate) StoredUnihash);

impl FromRow<'_, PgRow> for Stored {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let unihash = Unihash::from_stored(&row.text("unihash")?);
        let entry = UnihashEntry { method: row.text("method")?, taskhash: row.text("taskhash")?, unihash };
        Ok(Stored(StoredUnihash { id: row.number("id")?, entry }))
    }
}
