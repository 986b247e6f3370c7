//! Write transactions, one after the other over all servers on a database.
//!
//! What decides by looking, as a report does, needs that nobody else writes in between. So each write
//! transaction takes one lock, which ends with it. The lock is taken, the work done and committed in a single
//! message: no time on the network passes under the lock, and a server that is cut off cannot keep it. The
//! lock must come in a statement of its own, as a statement sees the database as it was when it began.
//!
//! The work is a `DO` block, since it needs neither a right nor an object in the database, and works through
//! a transaction pooler. It finds its input, a JSON text, in a setting that ends with the transaction, and
//! leaves its output in another one.

use sqlx::postgres::PgConnection;
use sqlx::{Executor as _, Row as _, SqlStr};

use super::error::Failure;

/// Read committed, whatever the default is: each statement sees what was committed before it began, among
/// it all that was written before the lock was had.
const BEGIN: &str = "\
    BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL enable_seqscan = off; SET LOCAL jit = off; \
    SET LOCAL lock_timeout = '20s'";

const SET_INPUT: &str = "SELECT set_config('hashserv.input', $1, true) IS NULL";

/// An advisory lock of ours ("hash" in ASCII) and an object.
macro_rules! program_lock {
    ($object:expr) => {
        concat!("pg_advisory_xact_lock((1751217000::bigint << 32) + ", $object, ")")
    };
}
pub(crate) use program_lock;

/// Makes of the body of a `DO` block what [`run`] runs.
macro_rules! program {
    ($($body:expr),+ $(,)?) => {
        concat!(
            "SELECT ",
            $crate::postgres::transaction::program_lock!("'unihashes_v3'::regclass::oid::bigint"),
            "; DO $hashserv$ ",
            $($body),+,
            " $hashserv$; SELECT current_setting('hashserv.output'); COMMIT"
        )
    };
}
pub(crate) use program;

/// Tells the other servers that unihashes were removed; see the module of removals.
macro_rules! notify_removal {
    () => {
        "PERFORM pg_notify('hashserv_' || 'unihashes_v3'::regclass::oid, input ->> 'origin');"
    };
}
pub(crate) use notify_removal;

/// Runs a program made with `program!` in a transaction; gives its output.
///
/// When it fails, all is rolled back.
pub(crate) async fn run(
    connection: &mut PgConnection,
    program: SqlStr,
    input: &str,
) -> Result<String, Failure> {
    let result = match begin(connection, input).await {
        Ok(()) => work(connection, program).await.map_err(Failure::from),
        Err(error) => Err(Failure::before_work(error)),
    };
    if result.as_ref().is_err_and(|failure| !failure.breaks_connection())
        && let Err(error) = connection.execute("ROLLBACK").await
    {
        tracing::debug!(%error, "rolling back failed");
    }
    result
}

async fn begin(connection: &mut PgConnection, input: &str) -> Result<(), sqlx::Error> {
    connection.execute(BEGIN).await?;
    sqlx::query(SET_INPUT).bind(input).persistent(false).execute(connection).await?;
    Ok(())
}

async fn work(connection: &mut PgConnection, program: SqlStr) -> Result<String, sqlx::Error> {
    let rows = sqlx::raw_sql(program).fetch_all(connection).await?;
    rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
}
