//! An index of our own, made while servers run.
//!
//! With it the oldest report of an output is found at the same cost, however many reports the output has. BitBake's
//! server does not know the index and is not disturbed: the database keeps it. A new database has it from the start.
//! For one that has reports already it is created in the background, `CONCURRENTLY`: readers and writers go on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use tokio::time::sleep;

use super::error::{is_of_connection, is_of_rights, is_read_only};
use super::schema::{OUTHASH_CREATED, create_outhash_created};
use super::server::{Server, Session};
use super::transaction::object_lock;
use crate::closing::Closing;

/// Pause before another attempt where the database cannot be reached, or another server creates the index.
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// Waiting for the lock in a statement would make the creation wait for that statement in turn.
const TRY_LOCK: &str = concat!("SELECT pg_try_advisory_lock(", object_lock!("1"), ")");
/// Whether the index is complete; NULL where there is none.
const IS_VALID: &str = "\
    SELECT (SELECT i.indisvalid FROM pg_index AS i WHERE i.indexrelid = to_regclass($1))";
const DROP: &str = concat!("DROP INDEX CONCURRENTLY IF EXISTS ", create_outhash_created!(name));
const CREATE: &str = create_outhash_created!("CONCURRENTLY");

/// State after an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    Done,
    Later,
}

/// Creates the index where it is missing; returns when it is there or cannot be had, or when `closing` turns true.
pub(crate) async fn create(server: Arc<Server>, mut closing: Closing) {
    // The lock is one of the session, and a pooler gives each statement another.
    if server.is_pooled() {
        return;
    }
    let creating = async {
        while attempt(&server).await == Attempt::Later {
            sleep(RETRY_PAUSE).await;
        }
    };
    tokio::select! {
        () = creating => {}
        () = closing.begun() => {}
    }
}

async fn attempt(server: &Server) -> Attempt {
    let Ok(mut connection) = server.connect(Session::Indexes).await else { return Attempt::Later };
    let attempt = match create_if_missing(&mut connection).await {
        Ok(attempt) => attempt,
        Err(error) if is_of_connection(&error) => Attempt::Later,
        Err(error) if is_read_only(&error) => Attempt::Done,
        Err(error) => {
            let advice = if is_of_rights(&error) { "let the owner of the table run" } else { "run" };
            tracing::warn!(
                database = %server.name(), %error,
                "cannot create an index: outputs with many reports stay slow: {advice}: {CREATE}"
            );
            Attempt::Done
        }
    };
    let _ = connection.close().await;
    attempt
}

async fn create_if_missing(connection: &mut PgConnection) -> Result<Attempt, sqlx::Error> {
    if is_valid(connection).await? == Some(true) {
        return Ok(Attempt::Done);
    }
    if !sqlx::query_scalar::<_, bool>(TRY_LOCK).fetch_one(&mut *connection).await? {
        return Ok(Attempt::Later);
    }
    // Looked at again under the lock: what is incomplete now is what an attempt left that ended early.
    match is_valid(connection).await? {
        Some(true) => return Ok(Attempt::Done),
        Some(false) => {
            connection.execute(DROP).await?;
        }
        None => {}
    }
    tracing::info!(index = OUTHASH_CREATED, "creating an index in the background");
    connection.execute(CREATE).await?;
    tracing::info!(index = OUTHASH_CREATED, "created the index");
    Ok(Attempt::Done)
}

async fn is_valid(connection: &mut PgConnection) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar(IS_VALID).bind(OUTHASH_CREATED).fetch_one(connection).await
}
