//! Databases that another server wrote (`tests/data`), and ours beside them.

use hashserv_storage::{Column, GcStatus, MarkRequest, OuthashKey, Sweep, TaskKey, Unihash};
use sha2::{Digest as _, Sha256};

use super::support::{METHOD, Place, report, task};

/// The hashes of the reference databases are those of texts.
fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unihash(text: &str) -> Unihash {
    Unihash::parse(&hash(text)).expect("a digest")
}

async fn assert_unihashes(place: &Place, expected: &[(String, Unihash)]) {
    let storage = place.open().await;
    let keys: Vec<TaskKey<'_>> = expected.iter().map(|(taskhash, _)| task(taskhash)).collect();
    let found = storage.unihashes(&keys).await.expect("the database answers");
    let wanted: Vec<Option<Unihash>> = expected.iter().map(|(_, unihash)| Some(unihash.clone())).collect();
    assert_eq!(found, wanted);
    storage.close().await;
}

/// What [`Place::query`] finds about tables and indexes, apart from how their SQL is written and from the indexes of
/// our own.
async fn schema(place: &Place) -> Vec<String> {
    place
        .query(
            "SELECT m.name, c.name, upper(c.type), c.\"notnull\", c.dflt_value, c.pk FROM sqlite_master AS m, \
             pragma_table_info(m.name) AS c WHERE m.type = 'table' \
             UNION ALL \
             SELECT m.name, l.name, l.\"unique\", l.origin, l.partial, group_concat(i.name) FROM sqlite_master AS m, \
             pragma_index_list(m.name) AS l, pragma_index_info(l.name) AS i \
             WHERE m.type = 'table' AND l.name NOT LIKE 'hashserv%' GROUP BY l.name \
             ORDER BY 1, 2",
        )
        .await
}

#[tokio::test]
async fn a_new_database_has_the_tables_and_indexes_of_the_reference() {
    let (ours, reference) = (Place::new(), Place::with_copy_of("reference-v3.db"));
    ours.open().await.close().await;
    let expected = schema(&reference).await;
    assert!(expected.len() > 30, "{expected:?}");
    assert_eq!(schema(&ours).await, expected);
    let autoincrement =
        "SELECT name FROM sqlite_master WHERE upper(sql) LIKE '%PRIMARY KEY AUTOINCREMENT%' ORDER BY 1";
    assert_eq!(ours.query(autoincrement).await, reference.query(autoincrement).await);
    assert_eq!(ours.query("PRAGMA journal_mode").await, ["wal"]);
}

#[tokio::test]
async fn opening_a_current_database_adds_but_an_index() {
    let (opened, original) = (Place::with_copy_of("reference-v3.db"), Place::with_copy_of("reference-v3.db"));
    opened.open().await.close().await;
    let schema_sql = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'hashserv%'";
    let dumps =
        ["unihashes_v3", "outhashes_v2", "users", "config"].map(|table| format!("SELECT * FROM {table}"));
    for sql in dumps.iter().map(String::as_str).chain([schema_sql]) {
        assert_eq!(opened.query(sql).await, original.query(sql).await, "{sql}");
    }
    let own = "SELECT type, name FROM sqlite_master WHERE name LIKE 'hashserv%'";
    assert_eq!(opened.query(own).await, ["index|hashserv_outhash_created_v1"]);
}

#[tokio::test]
async fn what_the_reference_stored_is_found() {
    let place = Place::with_copy_of("reference-v3.db");
    let mut expected: Vec<(String, Unihash)> =
        (0..60).map(|n| (hash(&format!("task{n}")), unihash(&format!("uni{}", n / 3 * 3)))).collect();
    expected.extend((60..64).map(|n| (hash(&format!("task{n}")), unihash(&format!("uni{n}")))));
    assert_unihashes(&place, &expected).await;

    let storage = place.open().await;
    let users: Vec<String> = storage.users().await.unwrap().into_iter().map(|user| user.name).collect();
    assert_eq!(users, ["admin", "builder", "nobody", "ops", "reader"]);
    let row = storage.task_row(task(&hash("task1"))).await.unwrap().unwrap();
    assert_eq!(row.report.outhash, hash("out0"));
    assert_eq!(row.report.details.pn.as_deref(), Some("recipe0"));
    assert_eq!(row.report.details.outhash_siginfo.as_deref(), Some("line 1 é \n".repeat(3).as_str()));
    let created = row.report.created.unwrap().to_string();
    assert!(created.starts_with("2026-11-22T14:41:18.36"), "{created}");
    let row =
        storage.outhash_row(OuthashKey { method: METHOD, outhash: &hash("other-output") }).await.unwrap();
    assert_eq!(row.unwrap().taskhash, hash("task5"));
}

#[tokio::test]
async fn a_collection_that_the_reference_began_goes_on() {
    let place = Place::with_copy_of("reference-v3.db");
    let storage = place.open().await;
    let expected = GcStatus { mark: Some("2026-11".to_owned()), keep: 4, remove: 60 };
    assert_eq!(storage.gc_status().await.unwrap(), expected);
    let conditions = [(Column::Unihash, hash("uni3"))].into_iter().collect();
    let marked = storage.mark(vec![MarkRequest { mark: "2026-11".to_owned(), conditions }]).await.unwrap();
    assert_eq!(marked, [3]);
    assert_eq!(storage.sweep("2026-11").await.unwrap(), Sweep::Done(57));
    storage.close().await;
    assert_eq!(place.query("SELECT name, value FROM config").await, ["gc-mark|NULL"]);
}

#[tokio::test]
async fn an_old_database_is_upgraded() {
    let place = Place::with_copy_of("reference-v2.db");
    let mut expected: Vec<(String, Unihash)> =
        (0..19).map(|n| (hash(&format!("task{n}")), unihash(&format!("uni{}", n / 2 * 2)))).collect();
    expected.push((hash("task19"), Unihash::from_stored(&"a".repeat(40))));
    assert_unihashes(&place, &expected).await;

    let new = Place::new();
    new.open().await.close().await;
    assert_eq!(schema(&place).await, schema(&new).await, "nothing old is left");
    assert_eq!(place.query("SELECT DISTINCT gc_mark FROM unihashes_v3").await, [""]);

    let storage = place.open().await;
    let row = storage.task_row(task(&hash("task0"))).await.unwrap().unwrap();
    assert_eq!(row.report.created.unwrap().to_string(), "2020-01-01T01:02:03.456789+00:00");
    let unihashes = storage.report(vec![report("new", &hash("out4"), 1)]).await.unwrap();
    assert_eq!(unihashes, [unihash("uni8")]);
}

#[tokio::test]
async fn an_old_timestamp_is_compared_as_time() {
    let place = Place::with_copy_of("reference-v2.db");
    let storage = place.open().await;
    let conditions = [(Column::Unihash, hash("uni0"))].into_iter().collect();
    assert_eq!(storage.remove(&conditions).await.unwrap(), 2);
    let before = |text| hashserv_storage::Timestamp::parse(text);
    assert_eq!(storage.clean_unused(before("2020-01-01 01:02:03.456789")).await.unwrap(), 0);
    assert_eq!(storage.clean_unused(before("2020-01-01 01:02:03.456790")).await.unwrap(), 1);
    assert_eq!(storage.clean_unused(before("2020-01-02 00:00:00")).await.unwrap(), 0);
    assert_eq!(storage.clean_unused(before("2020-01-03 00:00:00")).await.unwrap(), 1);
}

/// Where the time and the id stood side by side, the digits of an id were taken for those of a time.
#[tokio::test]
async fn an_old_timestamp_without_fraction_is_before_one_with() {
    let place = Place::new();
    place.open().await.close().await;
    let times = ["2020-01-01 01:02:03.5", "2020-01-01 01:02:03", "2020-01-01 01:02:03.000001"];
    for (number, created) in times.into_iter().enumerate() {
        place
            .query(&format!(
                "INSERT INTO outhashes_v2 (method, taskhash, outhash, created) \
                 VALUES ('{METHOD}', 't{number}', 'o', '{created}'); \
                 INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark) \
                 VALUES ('{METHOD}', 't{number}', '{created}', '')"
            ))
            .await;
    }
    let storage = place.open().await;
    let given = storage.report(vec![report("new", "o", 1)]).await.unwrap();
    assert_eq!(given, [Unihash::from_stored("2020-01-01 01:02:03")]);
    let row = storage.outhash_row(OuthashKey { method: METHOD, outhash: "o" }).await.unwrap();
    assert_eq!(row.unwrap().taskhash, "t1");
}

#[tokio::test]
async fn times_are_written_as_the_reference_does() {
    let place = Place::new();
    let storage = place.open().await;
    for (number, text) in
        ["2026-01-31T12:34:56.789012+00:00", "2026-01-31T12:34:56+00:00"].into_iter().enumerate()
    {
        let created = hashserv_storage::Timestamp::parse(text).unwrap();
        let mut sent = report(&format!("t{number}"), &format!("o{number}"), 1);
        sent.created = created;
        storage.report(vec![sent]).await.unwrap();
    }
    let created = place.query("SELECT created FROM outhashes_v2 ORDER BY id").await;
    assert_eq!(created, ["2026-01-31T12:34:56.789012+00:00", "2026-01-31T12:34:56+00:00"]);
}
