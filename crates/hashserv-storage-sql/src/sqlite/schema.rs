//! The tables, as BitBake's server has them.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _};

/// The tables, in the order in which their sizes are told.
pub(crate) const TABLES: [&str; 4] = ["unihashes_v3", "outhashes_v2", "users", "config"];

/// What is there already stays as it is.
const CREATE: &str = r#"
CREATE TABLE IF NOT EXISTS unihashes_v3 (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    method TEXT NOT NULL,
    taskhash TEXT NOT NULL,
    unihash TEXT NOT NULL,
    gc_mark TEXT NOT NULL,
    UNIQUE(method, taskhash)
);
CREATE TABLE IF NOT EXISTS outhashes_v2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    method TEXT NOT NULL,
    taskhash TEXT NOT NULL,
    outhash TEXT NOT NULL,
    created DATETIME,
    owner TEXT,
    PN TEXT,
    PV TEXT,
    PR TEXT,
    task TEXT,
    outhash_siginfo TEXT,
    UNIQUE(method, taskhash, outhash)
);
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT NOT NULL,
    token TEXT NOT NULL,
    permissions TEXT NOT NULL,
    UNIQUE(username)
);
CREATE TABLE IF NOT EXISTS config (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    value TEXT,
    UNIQUE(name)
);
DROP INDEX IF EXISTS taskhash_lookup;
DROP INDEX IF EXISTS taskhash_lookup_v2;
DROP INDEX IF EXISTS taskhash_lookup_v3;
DROP INDEX IF EXISTS outhash_lookup;
DROP INDEX IF EXISTS outhash_lookup_v2;
DROP TABLE IF EXISTS tasks_v2;
CREATE INDEX IF NOT EXISTS taskhash_lookup_v4 ON unihashes_v3 (method, taskhash);
CREATE INDEX IF NOT EXISTS unihash_lookup_v1 ON unihashes_v3 (unihash);
CREATE INDEX IF NOT EXISTS outhash_lookup_v3 ON outhashes_v2 (method, outhash);
CREATE INDEX IF NOT EXISTS config_lookup ON config (name);
"#;

const HAS_OLD_UNIHASHES: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'unihashes_v2')";

/// A taskhash that the new table has too (an older server ran on the upgraded database) keeps its unihash.
const UPGRADE_UNIHASHES: &str = "
INSERT OR IGNORE INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
    SELECT method, taskhash, unihash, '' FROM unihashes_v2 ORDER BY id;
DROP TABLE unihashes_v2;
";

/// An index of our own: it has the reports of an output in the order of their age, so that the oldest is found
/// without a look at the others. Other servers maintain it without knowing of it.
const CREATE_OWN_INDEX: &str =
    "CREATE INDEX IF NOT EXISTS hashserv_outhash_created_v1 ON outhashes_v2 (method, outhash, created)";

const HAS_OWN_INDEX: &str = "\
    SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'hashserv_outhash_created_v1')";

/// A large index is sorted in files, as it may be larger than the memory.
const SORT_IN_FILES: &str = "PRAGMA temp_store = FILE";
const SORT_IN_MEMORY: &str = "PRAGMA temp_store = MEMORY";

/// Creates what is missing and upgrades what is old, all or nothing.
pub(crate) async fn create_or_upgrade(writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    transaction.execute(CREATE).await?;
    if sqlx::query_scalar(HAS_OLD_UNIHASHES).fetch_one(&mut *transaction).await? {
        transaction.execute(UPGRADE_UNIHASHES).await?;
    }
    transaction.commit().await?;
    create_own_index(writer).await
}

/// Creates the index of our own, if it is missing. Where that fails, on a full disk say, the database is served without.
async fn create_own_index(writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    if sqlx::query_scalar(HAS_OWN_INDEX).fetch_one(&mut *writer).await? {
        return Ok(());
    }
    if sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM outhashes_v2)").fetch_one(&mut *writer).await? {
        tracing::info!(
            "indexing the reports of the database, once; this takes some seconds for each million"
        );
    }
    writer.execute(SORT_IN_FILES).await?;
    let in_files = writer.execute(CREATE_OWN_INDEX).await;
    writer.execute(SORT_IN_MEMORY).await?;
    // There may be no place for temporary files.
    if in_files.is_err()
        && let Err(error) = writer.execute(CREATE_OWN_INDEX).await
    {
        tracing::warn!(
            %error,
            "cannot index the reports of the database: an output that many tasks reported holds up others",
        );
    }
    Ok(())
}

/// A table that a current database has and this one lacks.
pub(crate) async fn missing_table(
    reader: &mut SqliteConnection,
) -> Result<Option<&'static str>, sqlx::Error> {
    const HAS_TABLE: &str = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)";
    for table in TABLES {
        let there: bool = sqlx::query_scalar(HAS_TABLE).bind(table).fetch_one(&mut *reader).await?;
        if !there {
            return Ok(Some(table));
        }
    }
    Ok(None)
}
