//! Single statements, also through a transaction pooler.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr};
use tokio::time::timeout;

use super::error::timed_out;

/// Longest run of a statement that looks at the database at the start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Runs a statement with arguments; returns its rows.
///
/// A transaction pooler gives each transaction whatever session is free. A statement is prepared in one step
/// and run in another, so it needs a transaction to meet the same session twice, and a name in the session
/// would be left to others. So would a time-out: the transaction has one of its own.
pub(crate) async fn fetch_all(
    connection: &mut PgConnection,
    sql: impl SqlSafeStr,
    arguments: PgArguments,
    pooled: bool,
    limit: Duration,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let query = sqlx::query_with(sql, arguments).persistent(!pooled);
    if !pooled {
        return query.fetch_all(connection).await;
    }
    let begin = format!("BEGIN; SET LOCAL statement_timeout = {}", limit.as_millis().max(1));
    let mut transaction = connection.begin_with(AssertSqlSafe(begin)).await?;
    let rows = query.fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}

/// Runs a statement of a start, for which the server waits before it listens.
pub(crate) async fn fetch_all_at_start(
    connection: &mut PgConnection,
    sql: &'static str,
    arguments: PgArguments,
    pooled: bool,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let fetching = fetch_all(connection, sql, arguments, pooled, START_LIMIT);
    timeout(START_LIMIT, fetching).await.unwrap_or_else(|_| Err(timed_out()))
}
