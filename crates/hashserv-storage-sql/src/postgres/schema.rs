//! The tables, as BitBake's server has them.

use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::{Arguments as _, Row as _};

use super::statement::fetch_all_at_start;
use super::transaction::program_lock;

/// The tables, in the order in which their sizes are told.
pub(crate) const TABLES: [&str; 4] = ["unihashes_v3", "outhashes_v2", "users", "config"];

const INDEXES: [&str; 4] = ["taskhash_lookup_v4", "unihash_lookup_v1", "outhash_lookup_v3", "config_lookup"];

/// The text of the statement that creates our own index, or of the name.
macro_rules! create_outhash_created {
    (name) => {
        "hashserv_outhash_created_v1"
    };
    ($how:expr) => {
        concat!(
            "CREATE INDEX ",
            $how,
            " IF NOT EXISTS ",
            create_outhash_created!(name),
            " ON outhashes_v2 (method, outhash, created, id)"
        )
    };
}
pub(crate) use create_outhash_created;

/// Our own index, which is no reason to take a database for an old one. See the module of indexes.
pub(crate) const OUTHASH_CREATED: &str = create_outhash_created!(name);

/// What older servers left.
const OLD: [&str; 7] = [
    "unihashes_v2",
    "tasks_v2",
    "taskhash_lookup",
    "taskhash_lookup_v2",
    "taskhash_lookup_v3",
    "outhash_lookup",
    "outhash_lookup_v2",
];

const MISSING: &str = "SELECT n FROM unnest($1::text[]) AS n WHERE to_regclass(n) IS NULL";

/// Creates what is missing and upgrades what is old: one transaction in one message.
///
/// The lock makes servers that start at the same time do it one after the other; `IF NOT EXISTS` alone fails
/// when two of them meet. A taskhash that the new table has too (an older server ran on the upgraded
/// database) keeps its unihash.
const CREATE: &str = concat!(
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL client_min_messages = warning; SELECT ",
    program_lock!("0"),
    r#";
CREATE TABLE IF NOT EXISTS unihashes_v3 (
    id SERIAL PRIMARY KEY,
    method TEXT NOT NULL,
    taskhash TEXT NOT NULL,
    unihash TEXT NOT NULL,
    gc_mark TEXT NOT NULL,
    UNIQUE (method, taskhash)
);
CREATE TABLE IF NOT EXISTS outhashes_v2 (
    id SERIAL PRIMARY KEY,
    method TEXT NOT NULL,
    taskhash TEXT NOT NULL,
    outhash TEXT NOT NULL,
    created TIMESTAMP WITHOUT TIME ZONE,
    owner TEXT,
    "PN" TEXT,
    "PV" TEXT,
    "PR" TEXT,
    task TEXT,
    outhash_siginfo TEXT,
    UNIQUE (method, taskhash, outhash)
);
CREATE TABLE IF NOT EXISTS users (
    id SERIAL PRIMARY KEY,
    username TEXT NOT NULL,
    token TEXT NOT NULL,
    permissions TEXT NOT NULL,
    UNIQUE (username)
);
CREATE TABLE IF NOT EXISTS config (
    id SERIAL PRIMARY KEY,
    name TEXT NOT NULL,
    value TEXT,
    UNIQUE (name)
);
DO $hashserv$ BEGIN
    IF to_regclass('unihashes_v2') IS NOT NULL THEN
        INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
            SELECT method, taskhash, unihash, '' FROM unihashes_v2 ORDER BY id ON CONFLICT DO NOTHING;
        DROP TABLE unihashes_v2;
    END IF;
END $hashserv$;
DROP TABLE IF EXISTS tasks_v2;
DROP INDEX IF EXISTS taskhash_lookup, taskhash_lookup_v2, taskhash_lookup_v3, outhash_lookup, outhash_lookup_v2;
CREATE INDEX IF NOT EXISTS taskhash_lookup_v4 ON unihashes_v3 (method, taskhash);
CREATE INDEX IF NOT EXISTS unihash_lookup_v1 ON unihashes_v3 (unihash);
CREATE INDEX IF NOT EXISTS outhash_lookup_v3 ON outhashes_v2 (method, outhash);
CREATE INDEX IF NOT EXISTS config_lookup ON config (name);
DO $hashserv$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM outhashes_v2) THEN
        "#,
    create_outhash_created!(""),
    ";
    END IF;
END $hashserv$;
COMMIT"
);

/// Creates what is missing and upgrades what is old, all or nothing.
///
/// A database that is as it should be is only looked at: the server needs no right to change its tables.
pub(crate) async fn create_or_upgrade(
    connection: &mut PgConnection,
    pooled: bool,
) -> Result<(), sqlx::Error> {
    let wanted = [TABLES, INDEXES].concat();
    let old = missing(connection, &OLD, pooled).await?;
    if missing(connection, &wanted, pooled).await?.is_empty() && old.len() == OLD.len() {
        return Ok(());
    }
    sqlx::raw_sql(CREATE).execute(connection).await?;
    Ok(())
}

/// The tables of a current database that this one lacks.
pub(crate) async fn missing_tables(
    connection: &mut PgConnection,
    pooled: bool,
) -> Result<Vec<String>, sqlx::Error> {
    missing(connection, &TABLES, pooled).await
}

async fn missing(
    connection: &mut PgConnection,
    names: &[&str],
    pooled: bool,
) -> Result<Vec<String>, sqlx::Error> {
    let mut arguments = PgArguments::default();
    arguments.add(names).map_err(sqlx::Error::Encode)?;
    let rows = fetch_all_at_start(connection, MISSING, arguments, pooled).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
