//! Databases that another server made, and ours beside them.

use hashserv_storage::{OuthashKey, Storage as _, StorageError, Unihash};
use hashserv_storage_sql::Credentials;

use super::support::{METHOD, database_or_skip, open, report, small, task, try_open, unihash};

/// As SQLAlchemy makes them of BitBake's tables.
const REFERENCE: &str = r#"
CREATE TABLE unihashes_v3 (id SERIAL NOT NULL, method TEXT NOT NULL, taskhash TEXT NOT NULL, unihash TEXT NOT NULL,
    gc_mark TEXT NOT NULL, PRIMARY KEY (id), UNIQUE (method, taskhash));
CREATE INDEX taskhash_lookup_v4 ON unihashes_v3 (method, taskhash);
CREATE INDEX unihash_lookup_v1 ON unihashes_v3 (unihash);
CREATE TABLE outhashes_v2 (id SERIAL NOT NULL, method TEXT NOT NULL, taskhash TEXT NOT NULL, outhash TEXT NOT NULL,
    created TIMESTAMP WITHOUT TIME ZONE, owner TEXT, "PN" TEXT, "PV" TEXT, "PR" TEXT, task TEXT, outhash_siginfo TEXT,
    PRIMARY KEY (id), UNIQUE (method, taskhash, outhash));
CREATE INDEX outhash_lookup_v3 ON outhashes_v2 (method, outhash);
CREATE TABLE users (id SERIAL NOT NULL, username TEXT NOT NULL, token TEXT NOT NULL, permissions TEXT NOT NULL,
    PRIMARY KEY (id), UNIQUE (username));
CREATE TABLE config (id SERIAL NOT NULL, name TEXT NOT NULL, value TEXT, PRIMARY KEY (id), UNIQUE (name));
CREATE INDEX config_lookup ON config (name);
"#;

const COLUMNS: &str = "
SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
WHERE table_schema = 'public' ORDER BY 1, 2";
const INDEXES: &str = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1";
const CONSTRAINTS: &str = "
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1";

/// Created beside those of the reference.
const OWN_INDEX: &str =
    "CREATE INDEX hashserv_outhash_created_v1 ON outhashes_v2 (method, outhash, created, id);";

#[tokio::test]
async fn a_new_database_has_the_tables_indexes_and_constraints_of_the_reference() {
    let (ours, reference) = (database_or_skip!(), database_or_skip!());
    open(ours.url()).await.close().await;
    reference.run(&[REFERENCE, OWN_INDEX].concat());
    for sql in [COLUMNS, INDEXES, CONSTRAINTS] {
        let expected = reference.run(sql);
        assert!(expected.lines().count() > 6, "{expected}");
        assert_eq!(ours.run(sql), expected);
    }
}

/// Neither the right to change tables nor the one to make temporary ones.
#[tokio::test]
async fn a_database_of_the_reference_is_opened_by_a_user_with_few_rights() {
    let database = database_or_skip!();
    database.run(REFERENCE);
    database.run(&format!(
        "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark) VALUES ('{METHOD}', 't0', 'u0', ''); \
         INSERT INTO outhashes_v2 (method, taskhash, outhash, created, \"PN\") \
         VALUES ('{METHOD}', 't0', 'o0', '2024-01-31 12:34:56.789', 'recipe')"
    ));
    let role = format!("{}_few", database.name());
    database.run(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'pw'; REVOKE ALL ON DATABASE {name} FROM PUBLIC; \
         GRANT CONNECT ON DATABASE {name} TO {role}; REVOKE ALL ON SCHEMA public FROM PUBLIC; \
         GRANT USAGE ON SCHEMA public TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
        name = database.name()
    ));
    let credentials = Credentials { username: Some(role.clone()), password: Some("pw".to_owned().into()) };
    let options = hashserv_storage_sql::Options { credentials, ..small() };
    let storage = try_open(database.url(), &options).await.expect("the database opens");
    let old = Unihash::from_stored("u0");
    assert_eq!(storage.report(vec![report("t1", "o0", 1)]).await.unwrap(), std::slice::from_ref(&old));
    assert_eq!(storage.unihashes(&[task("t0"), task("t1")]).await.unwrap(), [Some(old.clone()), Some(old)]);
    let row = storage.outhash_row(OuthashKey { method: METHOD, outhash: "o0" }).await.unwrap().unwrap();
    assert_eq!(row.created.unwrap().to_string(), "2024-01-31T12:34:56.789000+00:00");
    assert_eq!(row.details.pn.as_deref(), Some("recipe"));
    storage.close().await;
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[tokio::test]
async fn an_old_database_is_upgraded() {
    let database = database_or_skip!();
    database.run(&format!(
        "CREATE TABLE unihashes_v2 (id serial PRIMARY KEY, method text NOT NULL, unihash text NOT NULL, \
             taskhash text NOT NULL, UNIQUE (method, taskhash)); \
         CREATE TABLE tasks_v2 (id serial PRIMARY KEY, method text, taskhash text); \
         CREATE INDEX taskhash_lookup_v3 ON unihashes_v2 (method, taskhash); \
         CREATE INDEX taskhash_lookup ON tasks_v2 (method, taskhash); \
         INSERT INTO unihashes_v2 (method, taskhash, unihash) \
             SELECT '{METHOD}', 't' || n, repeat('a', 40) FROM generate_series(1, 100) AS n"
    ));
    let storage = open(database.url()).await;
    let keys = [task("t1"), task("t100"), task("t101")];
    let expected = Unihash::from_stored(&"a".repeat(40));
    assert_eq!(storage.unihashes(&keys).await.unwrap(), [Some(expected.clone()), Some(expected), None]);
    storage.close().await;
    let new = database_or_skip!();
    open(new.url()).await.close().await;
    for sql in [COLUMNS, INDEXES, CONSTRAINTS] {
        assert_eq!(database.run(sql), new.run(sql), "nothing old is left");
    }
    assert_eq!(database.run("SELECT DISTINCT gc_mark FROM unihashes_v3"), "\n");
}

#[tokio::test]
async fn what_postgresql_cannot_hold_does_no_harm_to_others() {
    let database = database_or_skip!();
    let storage = open(database.url()).await;
    let sound: Vec<_> = (0..20).map(|n| report(&format!("t{n}"), &format!("o{n}"), n)).collect();
    let faulty = report("with\0nul", "o", 99);
    let storing = sound.iter().map(|report| storage.report(vec![report.clone()]));
    let (stored, refused) =
        tokio::join!(futures_util::future::join_all(storing), storage.report(vec![faulty.clone()]));
    assert!(refused.is_err());
    for (result, sent) in stored.into_iter().zip(&sound) {
        assert_eq!(result.unwrap(), std::slice::from_ref(&sent.unihash));
    }
    let keys = [task("with\0nul"), task("t3")];
    assert_eq!(storage.unihashes(&keys).await.unwrap(), [None, Some(unihash(3))]);
    assert_eq!(storage.task_row(task("with\0nul")).await.unwrap(), None);
    assert_eq!(storage.user("a\0b").await.unwrap(), None);
    let conditions = [(hashserv_storage::Column::Taskhash, "with\0nul".to_owned())].into_iter().collect();
    assert_eq!(storage.remove(&conditions).await.unwrap(), 0);
}

#[tokio::test]
async fn database_with_another_encoding_is_refused() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let Some(database) = hashserv_test_postgres::database_with_encoding(encoding) else { return };
        let error = try_open(database.url(), &small()).await.unwrap_err();
        let StorageError::Open { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().starts_with(&format!("its encoding is {encoding}")), "{source}");
        assert_eq!(database.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0\n");
    }
}

/// Look-ups of several callers share a statement.
#[tokio::test]
async fn look_up_that_the_database_refuses_fails_alone() {
    let database = database_or_skip!();
    let storage = open(database.url()).await;
    storage.report((0..40).map(|n| report(&format!("t{n}"), "o", 1)).collect()).await.unwrap();
    // One row cannot be read.
    database.run(
        "ALTER TABLE unihashes_v3 RENAME TO entries; CREATE VIEW unihashes_v3 AS \
         SELECT id, method, taskhash, CASE taskhash WHEN 't20' THEN (1 / (id - id))::text ELSE unihash END AS unihash, \
                gc_mark FROM entries",
    );
    let names: Vec<_> = (0..40).map(|n| format!("t{n}")).collect();
    let tasks: Vec<_> = names.iter().map(|name| [task(name)]).collect();
    let looking = tasks.iter().map(|key| storage.unihashes(key));
    for (name, found) in names.iter().zip(futures_util::future::join_all(looking).await) {
        match found {
            Ok(found) => assert_eq!((name != "t20", found), (true, vec![Some(unihash(1))]), "{name}"),
            Err(error) => assert_eq!(name, "t20", "{error:?}"),
        }
    }
}

/// Repeated reports are the rule, and the ids have 32 bits.
#[tokio::test]
async fn what_is_known_already_uses_up_no_ids() {
    let database = database_or_skip!();
    let storage = open(database.url()).await;
    for _ in 0..10 {
        storage.report(vec![report("t", "o", 1)]).await.unwrap();
    }
    let last =
        "SELECT last_value FROM outhashes_v2_id_seq UNION ALL SELECT last_value FROM unihashes_v3_id_seq";
    assert_eq!(database.run(last), "1\n1\n");
}
