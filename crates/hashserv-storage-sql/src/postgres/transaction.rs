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
//!
//! A caller that was told of a time-out must be able to rely on it. So the database has a deadline, which lies before
//! that of the caller: it bounds each statement, and is checked before the commit. The latter is for a database that
//! stood still meanwhile, and reads the message only when its sender has given up.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _, SqlSafeStr as _, SqlStr};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{Failure, timed_out};

/// Longest wait for the lock that other servers hold.
const LOCK_LIMIT: Duration = Duration::from_secs(20);
/// Longest wait for a transaction to begin, which takes nothing but a round trip.
const BEGIN_LIMIT: Duration = Duration::from_secs(5);
/// Time that the answer has to arrive in after the deadline of the database.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Read committed, whatever the default is: each statement sees what was committed before it began, among
/// it all that was written before the lock was had.
const BEGIN: &str = "\
    BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; \
    SET LOCAL jit = off";

/// The time of the database is that before its answer: what is added to it here ends earlier there.
const SET_INPUT: &str = "\
    SELECT set_config('hashserv.input', $1, true) IS NULL, \
           set_config('hashserv.began', extract(epoch FROM clock_timestamp())::text, true)";

/// The number of an advisory lock: ours ("hash" in ASCII) and an object.
macro_rules! object_lock {
    ($object:expr) => {
        concat!("(1751217000::bigint << 32) + ", $object)
    };
}
pub(crate) use object_lock;

/// An advisory lock of ours, for a transaction.
macro_rules! program_lock {
    ($object:expr) => {
        concat!("pg_advisory_xact_lock(", $crate::postgres::transaction::object_lock!($object), ")")
    };
}
pub(crate) use program_lock;

/// The milliseconds until the deadline of the transaction.
macro_rules! milliseconds_left {
    () => {
        "(current_setting('hashserv.milliseconds')::float8 + 1000 * \
            (current_setting('hashserv.began')::float8 - extract(epoch FROM clock_timestamp())::float8))"
    };
}
pub(crate) use milliseconds_left;

/// Makes of the body of a `DO` block what [`run`] runs, without the lock.
macro_rules! program_without_lock {
    ($($body:expr),+ $(,)?) => {
        concat!(
            "DO $hashserv$ ",
            $($body),+,
            " $hashserv$; DO $hashserv$ BEGIN IF ",
            $crate::postgres::transaction::milliseconds_left!(),
            " < 0 THEN RAISE EXCEPTION 'too late' USING ERRCODE = 'query_canceled'; END IF; END $hashserv$; \
            SELECT current_setting('hashserv.output'); COMMIT"
        )
    };
}
pub(crate) use program_without_lock;

/// Makes of the body of a `DO` block what [`run`] runs.
///
/// The time that the lock took is taken from that of the work.
macro_rules! program {
    ($($body:expr),+ $(,)?) => {
        concat!(
            "SELECT CASE WHEN ",
            $crate::postgres::transaction::program_lock!("'unihashes_v3'::regclass::oid::bigint"),
            " IS NULL THEN '' ELSE set_config('statement_timeout', greatest(1, ceil(",
            $crate::postgres::transaction::milliseconds_left!(),
            "))::bigint::text, true) END; ",
            $crate::postgres::transaction::program_without_lock!($($body),+)
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

/// Runs a program made with `program!` in a transaction; returns its output.
///
/// When it fails, all is rolled back. The database commits nothing after `until`.
pub(crate) async fn run(
    connection: &mut PgConnection,
    program: SqlStr,
    input: &str,
    until: Instant,
) -> Result<String, Failure> {
    let begun = Instant::now();
    let result = match timeout_at(until.min(begun + BEGIN_LIMIT), begin(connection, input)).await {
        Ok(Ok(())) => {
            let working = timeout_at(until + ANSWER_LIMIT, work(connection, program, until)).await;
            working.unwrap_or_else(|_| Err(Failure::no_answer(begun.elapsed())))
        }
        Ok(Err(error)) => Err(Failure::before_work(error)),
        Err(_) => Err(Failure::before_work(timed_out())),
    };
    if result.as_ref().is_err_and(|failure| !failure.breaks_connection()) {
        roll_back(connection).await?;
    }
    result
}

async fn begin(connection: &mut PgConnection, input: &str) -> Result<(), sqlx::Error> {
    connection.execute(BEGIN).await?;
    sqlx::query(SET_INPUT).bind(input).persistent(false).execute(connection).await?;
    Ok(())
}

async fn work(connection: &mut PgConnection, program: SqlStr, until: Instant) -> Result<String, Failure> {
    let left = until.saturating_duration_since(Instant::now());
    // A time-out of 0 would be none.
    let (lock, left) = (left.min(LOCK_LIMIT).as_millis().max(1), left.as_millis().max(1));
    let timed = format!(
        "SET LOCAL hashserv.milliseconds = {left}; SET LOCAL statement_timeout = {left}; SET LOCAL lock_timeout = {lock}; {}",
        program.as_str()
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(timed).into_sql_str()).fetch_all(connection).await?;
    Ok(rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
}

/// A transaction that cannot be rolled back would go on in whatever comes next.
async fn roll_back(connection: &mut PgConnection) -> Result<(), Failure> {
    match timeout(BEGIN_LIMIT, connection.execute("ROLLBACK")).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "rolling back failed");
            Err(Failure::no_answer(BEGIN_LIMIT))
        }
        Err(_) => Err(Failure::no_answer(BEGIN_LIMIT)),
    }
}
