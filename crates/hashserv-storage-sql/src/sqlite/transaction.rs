//! Write transactions in one round trip.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor as _, Row as _, SqlSafeStr};

use super::error::SharedError;
use super::texts::lenient;

/// Makes of statements a transaction that takes the lock for writing at once.
///
/// One that begins by reading fails, whatever the time-out, when another process writes before it does.
macro_rules! transaction {
    ($($statements:expr),+ $(,)?) => {
        concat!("BEGIN IMMEDIATE; ", $($statements),+, "; COMMIT")
    };
}
pub(crate) use transaction;

/// Runs statements that begin and commit a transaction and give one row with one text.
///
/// When one fails, all are rolled back.
pub(crate) async fn run(
    connection: &mut SqliteConnection,
    sql: impl SqlSafeStr,
    arguments: impl IntoIterator<Item = String>,
) -> Result<String, SharedError> {
    let result = run_statements(connection, sql, arguments).await;
    if result.is_err() {
        roll_back(connection).await;
    }
    Ok(result?)
}

/// As [`run`], within a transaction or without.
pub(crate) async fn run_statements(
    connection: &mut SqliteConnection,
    sql: impl SqlSafeStr,
    arguments: impl IntoIterator<Item = String>,
) -> Result<String, sqlx::Error> {
    let query = arguments.into_iter().fold(sqlx::query(sql), |query, argument| query.bind(argument));
    // All rows, as taking only the first would leave out the statements after it.
    let rows = query.fetch_all(connection).await?;
    rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0).map(lenient)
}

/// Ends a transaction that failed; SQLite may have rolled it back already.
pub(crate) async fn roll_back(connection: &mut SqliteConnection) {
    if let Err(error) = connection.execute("ROLLBACK").await {
        tracing::debug!(%error, "there was nothing to roll back");
    }
}
