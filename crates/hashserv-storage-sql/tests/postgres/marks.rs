//! Marking many rows.

use hashserv_storage::{Column, Conditions, MarkRequest, Storage as _};
use hashserv_test_postgres::Database;

use super::support::{METHOD, database_or_skip, open};

/// Makes the database note the number of rows that each transaction changes in a table.
fn count_changes(database: &Database) {
    database.run(
        "CREATE TABLE changes (transaction bigint, changed bigint); \
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO changes SELECT txid_current(), count(*) FROM changed; RETURN NULL; END $$; \
         CREATE TRIGGER note AFTER UPDATE ON unihashes_v3 REFERENCING NEW TABLE AS changed \
             FOR EACH STATEMENT EXECUTE FUNCTION note()",
    );
}

/// Adds entries of which many have one unihash.
fn fill(database: &Database, count: usize) {
    database.run(&format!(
        "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark) \
         SELECT '{METHOD}', 't' || n, 'u', CASE WHEN n % 5 = 0 THEN 'm' ELSE '' END FROM generate_series(1, {count}) AS n"
    ));
}

fn mark(column: Column, value: &str) -> MarkRequest {
    let conditions: Conditions = [(column, value.to_owned())].into_iter().collect();
    MarkRequest { mark: "m".to_owned(), conditions }
}

#[tokio::test]
async fn many_rows_are_marked_in_chunks() {
    for (column, value) in [(Column::Method, METHOD), (Column::Unihash, "u")] {
        let database = database_or_skip!();
        let storage = open(database.url()).await;
        fill(&database, 9000);
        count_changes(&database);
        let requests = vec![mark(Column::Unihash, "none"), mark(column, value)];
        assert_eq!(storage.mark(requests).await.unwrap(), [0, 9000]);
        assert_eq!(database.run("SELECT count(*) FROM unihashes_v3 WHERE gc_mark <> 'm'"), "0\n");
        let largest = "SELECT max(n) <= 2000, sum(n) FROM \
                       (SELECT sum(changed) AS n FROM changes GROUP BY transaction) AS t";
        assert_eq!(database.run(largest), "t|7200\n", "{column:?}");
    }
}

/// What carries the mark of a newer collection must keep it.
#[tokio::test]
async fn marking_ends_when_another_mark_becomes_the_current_one() {
    let database = database_or_skip!();
    let storage = open(database.url()).await;
    fill(&database, 9000);
    database.run(
        "CREATE FUNCTION replace() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             UPDATE config SET value = 'newer' WHERE name = 'gc-mark'; RETURN NULL; END $$; \
         CREATE TRIGGER replace AFTER UPDATE ON unihashes_v3 FOR EACH STATEMENT EXECUTE FUNCTION replace()",
    );
    storage.mark(vec![mark(Column::Method, METHOD)]).await.unwrap();
    let marked = database.run("SELECT count(*) FROM unihashes_v3 WHERE gc_mark = 'm' AND id > 2000");
    assert_eq!(marked, "1400\n", "only those that carried it before");
    assert_eq!(database.run("SELECT value FROM config"), "newer\n");
}

#[tokio::test]
async fn condition_that_nothing_can_match_begins_a_collection() {
    let database = database_or_skip!();
    let storage = open(database.url()).await;
    fill(&database, 10);
    assert_eq!(storage.mark(vec![mark(Column::Taskhash, "with\0nul")]).await.unwrap(), [0]);
    assert_eq!(database.run("SELECT value FROM config"), "m\n");
}
