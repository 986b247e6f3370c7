//! Values that are no text, as an old or foreign program may have stored them.

use hashserv_storage::{Details, OuthashKey, Storage, Unihash};

use super::support::{METHOD, Place, report, task};

/// A BLOB, and text that is not UTF-8, with a quote behind it that must stay one.
const JUNK: [(&str, &str); 3] = [
    ("x'ff00'", "\u{fffd}\0"),
    ("cast(x'ff41' AS TEXT)", "\u{fffd}A"),
    ("cast(x'4122e2' AS TEXT)", "A\"\u{fffd}"),
];

/// With two tasks of which one has junk for a unihash.
async fn with_junk(place: &Place, junk: &str) -> std::sync::Arc<dyn Storage> {
    let storage = place.open().await;
    storage.report(vec![report("good", "o1", 1), report("junk", "o2", 2)]).await.expect("recorded");
    place.query(&format!("UPDATE unihashes_v3 SET unihash = {junk} WHERE taskhash = 'junk'")).await;
    storage
}

#[tokio::test]
async fn look_up_of_junk_gives_text_that_is_no_hash_and_harms_no_other() {
    for (junk, text) in JUNK {
        let place = Place::new();
        let storage = with_junk(&place, junk).await;
        let found = storage.unihashes(&[task("junk"), task("good")]).await.unwrap();
        assert_eq!(found, [Some(Unihash::from_stored(text)), Some(Unihash::from([1; 32]))]);
        let newest = storage.newest_unihashes(None, 10).await.unwrap();
        assert_eq!(newest.len(), 2, "{junk}");
    }
}

#[tokio::test]
async fn report_beside_junk_is_recorded() {
    for (junk, text) in JUNK {
        let place = Place::new();
        let storage = with_junk(&place, junk).await;
        let reports = vec![report("junk", "o2", 3), report("new", "o1", 4), report("same", "o2", 5)];
        let junk = Unihash::from_stored(text);
        let expected = [junk.clone(), Unihash::from([1; 32]), junk];
        assert_eq!(storage.report(reports).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn row_with_junk_is_read() {
    let place = Place::new();
    let storage = with_junk(&place, "x'ff'").await;
    place
        .query("UPDATE outhashes_v2 SET created = x'ff', owner = x'fe', PN = 5, task = cast(x'61ff' AS TEXT)")
        .await;
    place.query("UPDATE unihashes_v3 SET gc_mark = x'fd'").await;
    let row = storage.task_row(task("junk")).await.unwrap().unwrap();
    let shown = Some("\u{fffd}".to_owned());
    let details = Details {
        owner: shown,
        pn: Some("5".to_owned()),
        task: Some("a\u{fffd}".to_owned()),
        ..Details::default()
    };
    assert_eq!((row.report.created, row.report.details), (None, details));
    assert_eq!((row.unihash.to_string(), row.gc_mark), ("\u{fffd}".to_owned(), "\u{fffd}".to_owned()));
    let key = OuthashKey { method: METHOD, outhash: "o1" };
    assert_eq!(storage.outhash_row(key).await.unwrap().unwrap().taskhash, "good");
}

/// It would be remembered as the unihash of another task.
#[tokio::test]
async fn key_that_is_no_text_is_not_told_among_the_newest() {
    let place = Place::new();
    let storage = with_junk(&place, "'u'").await;
    place.query("UPDATE unihashes_v3 SET taskhash = x'ff' WHERE taskhash = 'junk'").await;
    let newest = storage.newest_unihashes(None, 10).await.unwrap();
    assert_eq!(newest.iter().map(|stored| &*stored.entry.taskhash).collect::<Vec<_>>(), ["good"]);
}

#[tokio::test]
async fn account_and_mark_of_junk_are_read() {
    let place = Place::new();
    let storage = place.open().await;
    place.query("INSERT INTO users (username, token, permissions) VALUES ('u', x'ff', x'fe')").await;
    place.query("INSERT INTO config (name, value) VALUES ('gc-mark', x'ff')").await;
    assert_eq!(storage.users().await.unwrap()[0].token_hash, "\u{fffd}");
    assert_eq!(storage.gc_status().await.unwrap().mark.as_deref(), Some("\u{fffd}"));
}
