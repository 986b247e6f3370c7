//! Recording reports and unihashes.

use hashserv_storage::{Report, Unihash, UnihashEntry};
use sqlx::Executor as _;
use sqlx::sqlite::SqliteConnection;

use super::error::SharedError;
use super::json::{self, Items};
use super::transaction::run_statements;
use crate::queue::{Kind, Recordable};

/// A view that records the reports inserted into it, one after the other, as the rules of equivalence want.
///
/// Each report sees those before it. A batch of any size is one row, inserted into another view: so it is one
/// statement, which is a transaction by itself, and what it returns comes as one row. (Whatever a statement
/// gives wakes the task that waits for it, on the processor that the writer needs.) Views and triggers are
/// temporary: they belong to the connection and leave no trace in the file.
///
/// A report is never older than those that are there: what was acknowledged stays the oldest, also where a clock is
/// behind, or where the upstream's report of the same output comes late.
///
/// The unihash of the task itself comes first, as a task that has one keeps it: no other report is read then. The
/// oldest report of an output is the first in the index `hashserv_outhash_created_v1`. The row is inserted by
/// `VALUES` and not by `SELECT`, because SQLite would make a temporary b-tree for that, for every report.
const CREATE_RECORDER: &str = "
CREATE TEMP VIEW reported AS
    SELECT NULL AS method, NULL AS taskhash, NULL AS outhash, NULL AS unihash, NULL AS created, NULL AS owner,
           NULL AS PN, NULL AS PV, NULL AS PR, NULL AS task, NULL AS outhash_siginfo;
CREATE TEMP TRIGGER record_reported INSTEAD OF INSERT ON reported BEGIN
    INSERT INTO outhashes_v2 (method, taskhash, outhash, created, owner, PN, PV, PR, task, outhash_siginfo)
        VALUES (NEW.method, NEW.taskhash, NEW.outhash,
                coalesce(max(NEW.created, (SELECT max(o.created) FROM outhashes_v2 AS o
                                           WHERE o.method = NEW.method AND o.outhash = NEW.outhash)),
                         NEW.created),
                NEW.owner, NEW.PN, NEW.PV, NEW.PR, NEW.task, NEW.outhash_siginfo)
        ON CONFLICT (method, taskhash, outhash) DO NOTHING;
    INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
        VALUES (NEW.method, NEW.taskhash,
                coalesce(
                    (SELECT unihash FROM unihashes_v3 WHERE method = NEW.method AND taskhash = NEW.taskhash),
                    (SELECT u.unihash FROM outhashes_v2 AS o CROSS JOIN unihashes_v3 AS u
                     WHERE o.method = NEW.method AND o.outhash = NEW.outhash AND o.taskhash <> NEW.taskhash
                       AND u.method = o.method AND u.taskhash = o.taskhash
                     ORDER BY o.created, o.id LIMIT 1),
                    NEW.unihash),
                coalesce((SELECT value FROM config WHERE name = 'gc-mark'), ''))
        ON CONFLICT (method, taskhash) DO NOTHING;
END;
CREATE TEMP VIEW report_batches AS SELECT NULL AS reports, NULL AS keys;
CREATE TEMP TRIGGER record_report_batch INSTEAD OF INSERT ON report_batches BEGIN
    INSERT INTO reported
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
               value ->> 8, value ->> 9, value ->> 10
        FROM json_each(NEW.reports);
END;
CREATE TEMP VIEW entry_batches AS SELECT NULL AS entries, NULL AS keys;
CREATE TEMP TRIGGER record_entry_batch INSTEAD OF INSERT ON entry_batches BEGIN
    INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
        SELECT value ->> 0, value ->> 1, value ->> 2,
               coalesce((SELECT c.value FROM config AS c WHERE c.name = 'gc-mark'), '')
        FROM json_each(NEW.entries) WHERE true
        ON CONFLICT (method, taskhash) DO NOTHING;
END;
";

/// Inserts one batch; gives the unihashes that its keys, an object of taskhashes and methods, have then.
macro_rules! insert_batch {
    ($view:literal) => {
        concat!(
            "INSERT INTO ",
            $view,
            " VALUES (?1, ?2) RETURNING \
             (SELECT json_group_array((SELECT CAST(unihash AS TEXT) FROM unihashes_v3 \
                                       WHERE method = k.value AND taskhash = k.key)) \
              FROM json_each(keys) AS k)"
        )
    };
}

const RECORD_REPORTS: &str = insert_batch!("report_batches");
const RECORD_UNIHASHES: &str = insert_batch!("entry_batches");

/// Prepares the connection that writes.
pub(crate) async fn create_recorder(writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    writer.execute(CREATE_RECORDER).await?;
    Ok(())
}

/// What one caller wants recorded.
#[derive(Debug)]
pub(crate) struct Records {
    kind: Kind,
    /// What to record.
    items: Items,
    /// The tasks whose unihashes are wanted.
    keys: Items,
}

impl Records {
    pub(crate) fn of_reports(reports: &[Report]) -> Self {
        Records {
            kind: Kind::Reports,
            items: Items::of_reports(reports),
            keys: Items::of_task_keys(reports.iter().map(Report::task_key)),
        }
    }

    pub(crate) fn of_entries(entries: &[UnihashEntry]) -> Self {
        Records {
            kind: Kind::Unihashes,
            items: Items::of_entries(entries),
            keys: Items::of_task_keys(entries.iter().map(UnihashEntry::task_key)),
        }
    }
}

impl Recordable for Records {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn count(&self) -> usize {
        self.items.count()
    }

    fn bytes(&self) -> usize {
        self.items.bytes() + self.keys.bytes()
    }
}

/// Records what callers want, all of one kind, in one transaction; gives the unihashes of all in order.
pub(crate) async fn record(
    writer: &mut SqliteConnection,
    records: &[&Records],
) -> Result<Vec<Unihash>, SharedError> {
    let sql = match records.first().map(|records| records.kind) {
        Some(Kind::Reports) => RECORD_REPORTS,
        Some(Kind::Unihashes) => RECORD_UNIHASHES,
        None => return Ok(Vec::new()),
    };
    let items = json::array(records.iter().map(|records| &records.items));
    let keys = json::object(records.iter().map(|records| &records.keys));
    let found = run_statements(writer, sql, [items, keys]).await?;
    let unihashes = json::parse_unihashes(&found)
        .and_then(|found| json::expect_count(found, records.iter().map(|records| records.count()).sum()))
        .map_err(|error| sqlx::Error::Decode(error.into()))?;
    unihashes.into_iter().map(|unihash| unihash.ok_or_else(|| sqlx::Error::RowNotFound.into())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hashserv_storage::{Details, Timestamp};
    use sqlx::Connection as _;

    use super::super::{reads, schema};
    use super::*;

    /// A database that counts the steps of its virtual machine, which depend on nothing else.
    struct Counted {
        connection: SqliteConnection,
        steps: Arc<AtomicUsize>,
    }

    impl Counted {
        async fn open() -> Self {
            let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
            schema::create_or_upgrade(&mut connection).await.unwrap();
            create_recorder(&mut connection).await.unwrap();
            let steps = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&steps);
            let mut handle = connection.lock_handle().await.unwrap();
            handle.set_progress_handler(1, move || {
                counter.fetch_add(1, Ordering::Relaxed);
                true
            });
            drop(handle);
            Counted { connection, steps }
        }

        /// Steps of what a report of the one output costs.
        async fn report(&mut self, tasks: impl IntoIterator<Item = usize>) -> usize {
            let report = |task| Report {
                method: "m".to_owned(),
                taskhash: format!("t{task}"),
                outhash: "o".to_owned(),
                unihash: Unihash::from([1; 32]),
                created: Timestamp::now(),
                details: Details::default(),
            };
            let reports: Vec<Report> = tasks.into_iter().map(report).collect();
            self.steps.store(0, Ordering::Relaxed);
            record(&mut self.connection, &[&Records::of_reports(&reports)]).await.unwrap();
            self.steps.load(Ordering::Relaxed)
        }

        async fn find(&mut self, sql: &'static str) -> usize {
            self.steps.store(0, Ordering::Relaxed);
            sqlx::query(sql).bind("m").bind("o").fetch_one(&mut self.connection).await.unwrap();
            self.steps.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn report_costs_the_same_however_often_its_output_was_reported() {
        let mut counted = Counted::open().await;
        counted.report([0]).await;
        let (repeated, new) = (counted.report([0]).await, counted.report([1]).await);
        counted.report(2..3000).await;
        let (repeated_later, new_later) = (counted.report([0]).await, counted.report([3000]).await);
        assert!(repeated_later < 2 * repeated, "{repeated} steps, then {repeated_later}");
        assert!(new_later < 2 * new, "{new} steps, then {new_later}");
    }

    #[tokio::test]
    async fn oldest_report_is_found_at_the_same_cost_however_many_there_are() {
        let mut counted = Counted::open().await;
        counted.report(0..2).await;
        let statements = [reads::OUTHASH_ROW, reads::UNIFIED_OUTHASH_ROW];
        let few = [counted.find(statements[0]).await, counted.find(statements[1]).await];
        counted.report(2..3000).await;
        let many = [counted.find(statements[0]).await, counted.find(statements[1]).await];
        assert!(many[0] < 2 * few[0] && many[1] < 2 * few[1], "{few:?} steps, then {many:?}");
    }
}
