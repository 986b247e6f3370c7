//! A [`Storage`] in memory, as simple as it can be: one lock, and tables that are searched from end to end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hashserv_storage::{
    Column, Conditions, GcStatus, MarkRequest, NewUser, OuthashKey, OuthashRow, Report, Storage,
    StorageError, StoredUnihash, Sweep, TableUsage, TaskKey, Timestamp, UnifiedRow, Unihash, UnihashEntry,
    UserRecord,
};
use tokio::sync::watch;

/// A database, which any number of storages share, as processes share a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDatabase {
    tables: Arc<Mutex<Tables>>,
    /// Changes at each removal.
    removals: watch::Sender<u64>,
}

/// One opened database.
#[derive(Debug)]
pub(crate) struct MemoryStorage {
    database: MemoryDatabase,
    is_closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Tables {
    last_id: i64,
    /// By method and taskhash.
    unihashes: BTreeMap<(String, String), UnihashRow>,
    /// By method, outhash and taskhash.
    outhashes: BTreeMap<(String, String, String), OuthashRow>,
    /// By name.
    users: BTreeMap<String, UserRecord>,
    /// The current mark, while a collection is in progress.
    mark: Option<String>,
}

#[derive(Debug)]
struct UnihashRow {
    id: i64,
    unihash: Unihash,
    gc_mark: String,
}

impl MemoryDatabase {
    pub(crate) fn open(&self) -> Arc<MemoryStorage> {
        Arc::new(MemoryStorage { database: self.clone(), is_closed: AtomicBool::new(false) })
    }
}

impl MemoryStorage {
    /// Returns all tables: whoever holds them runs a transaction.
    fn tables(&self) -> Result<MutexGuard<'_, Tables>, StorageError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed);
        }
        Ok(self.database.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Announces removals, so that nobody keeps in memory what is gone.
    fn announce_removals(&self) {
        self.database.removals.send_modify(|count| *count += 1);
    }
}

impl Tables {
    fn new_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    fn unihash(&self, method: &str, taskhash: &str) -> Option<&UnihashRow> {
        self.unihashes.get(&(method.to_owned(), taskhash.to_owned()))
    }

    /// Returns the unihash that the task has, after it got this one if it had none.
    fn record(&mut self, entry: UnihashEntry) -> Unihash {
        let id = self.new_id();
        let gc_mark = self.mark.clone().unwrap_or_default();
        let row = UnihashRow { id, unihash: entry.unihash, gc_mark };
        self.unihashes.entry((entry.method, entry.taskhash)).or_insert(row).unihash.clone()
    }

    fn report(&mut self, report: Report) -> Unihash {
        let Report { method, taskhash, outhash, unihash, created, details } = report;
        // The oldest report of an output stays the oldest, whatever the clocks of clients say.
        let oldest = self.reports_of(OuthashKey { method: &method, outhash: &outhash }).first().copied();
        let created = Some(created).max(oldest.and_then(|row| row.created));
        let row = OuthashRow {
            id: self.new_id(),
            method: method.clone(),
            taskhash: taskhash.clone(),
            outhash: outhash.clone(),
            created,
            details,
        };
        let key = (method.clone(), outhash.clone(), taskhash.clone());
        self.outhashes.entry(key).or_insert(row);
        let known = self.unified_row(OuthashKey { method: &method, outhash: &outhash });
        let unihash = known.map_or(unihash, |row| row.unihash);
        self.record(UnihashEntry { method, taskhash, unihash })
    }

    /// Returns the reports of an output, oldest first.
    fn reports_of(&self, key: OuthashKey<'_>) -> Vec<&OuthashRow> {
        let first = (key.method.to_owned(), key.outhash.to_owned(), String::new());
        let rows = self.outhashes.range(first..).map(|(_, row)| row);
        oldest_first(rows.take_while(|row| row.method == key.method && row.outhash == key.outhash))
    }

    /// Returns the oldest report of an output whose task has a unihash.
    fn unified_row(&self, key: OuthashKey<'_>) -> Option<UnifiedRow> {
        self.reports_of(key).into_iter().find_map(|row| self.unify(row))
    }

    fn unify(&self, report: &OuthashRow) -> Option<UnifiedRow> {
        let row = self.unihash(&report.method, &report.taskhash)?;
        let (unihash, gc_mark) = (row.unihash.clone(), row.gc_mark.clone());
        Some(UnifiedRow { report: report.clone(), unihash, gc_mark })
    }

    fn mark(&mut self, request: &MarkRequest) -> u64 {
        self.mark = Some(request.mark.clone());
        let mut count = 0;
        for (key, row) in &mut self.unihashes {
            if matches_unihash(&request.conditions, key, row) {
                row.gc_mark.clone_from(&request.mark);
                count += 1;
            }
        }
        count
    }

    fn row_count(&self) -> u64 {
        (self.unihashes.len() + self.outhashes.len()) as u64
    }

    fn user_by_id(&mut self, id: i64) -> Option<&mut UserRecord> {
        self.users.values_mut().find(|user| user.id == id)
    }

    fn new_user(&mut self, user: NewUser) -> UserRecord {
        let NewUser { name, token_hash, permissions } = user;
        UserRecord { id: self.new_id(), name, token_hash, permissions }
    }
}

fn oldest_first<'a>(rows: impl Iterator<Item = &'a OuthashRow>) -> Vec<&'a OuthashRow> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| (row.created, row.id));
    rows
}

/// Returns whether a row of unihashes has all values that the conditions name, at least one.
fn matches_unihash(conditions: &Conditions, key: &(String, String), row: &UnihashRow) -> bool {
    let mut named = conditions.of_unihashes().peekable();
    named.peek().is_some()
        && named.all(|(column, value)| match column {
            Column::Method => key.0 == value,
            Column::Taskhash => key.1 == value,
            Column::Unihash => row.unihash.to_string() == value,
            Column::GcMark => row.gc_mark == value,
            Column::Id => row.id.to_string() == value,
            _ => false,
        })
}

/// Returns whether a report has all values that the conditions name, at least one.
fn matches_report(conditions: &Conditions, row: &OuthashRow) -> bool {
    let is = |text: &Option<String>, value: &str| text.as_deref() == Some(value);
    let details = &row.details;
    let mut named = conditions.of_outhashes().peekable();
    named.peek().is_some()
        && named.all(|(column, value)| match column {
            Column::Method => row.method == value,
            Column::Taskhash => row.taskhash == value,
            Column::Outhash => row.outhash == value,
            Column::Owner => is(&details.owner, value),
            Column::Pn => is(&details.pn, value),
            Column::Pv => is(&details.pv, value),
            Column::Pr => is(&details.pr, value),
            Column::Task => is(&details.task, value),
            Column::OuthashSiginfo => is(&details.outhash_siginfo, value),
            Column::Id => row.id.to_string() == value,
            Column::Created => row.created.is_some_and(|created| created.to_string() == value),
            _ => false,
        })
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Result<Vec<Option<Unihash>>, StorageError> {
        let tables = self.tables()?;
        let found = keys.iter().map(|key| tables.unihash(key.method, key.taskhash));
        Ok(found.map(|row| row.map(|row| row.unihash.clone())).collect())
    }

    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Result<Vec<bool>, StorageError> {
        let tables = self.tables()?;
        let exists = |unihash: &Unihash| tables.unihashes.values().any(|row| row.unihash == *unihash);
        Ok(unihashes.iter().map(exists).collect())
    }

    async fn newest_unihashes(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<StoredUnihash>, StorageError> {
        let tables = self.tables()?;
        let mut rows: Vec<StoredUnihash> = tables
            .unihashes
            .iter()
            .filter(|(_, row)| before.is_none_or(|before| row.id < before))
            .map(|((method, taskhash), row)| StoredUnihash {
                id: row.id,
                entry: UnihashEntry {
                    method: method.clone(),
                    taskhash: taskhash.clone(),
                    unihash: row.unihash.clone(),
                },
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        rows.truncate(limit);
        Ok(rows)
    }

    async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<UnifiedRow>, StorageError> {
        let tables = self.tables()?;
        let reports = tables.outhashes.values();
        let own = reports.filter(|row| row.method == key.method && row.taskhash == key.taskhash);
        Ok(oldest_first(own).into_iter().find_map(|row| tables.unify(row)))
    }

    async fn unified_outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<UnifiedRow>, StorageError> {
        Ok(self.tables()?.unified_row(key))
    }

    async fn outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<OuthashRow>, StorageError> {
        Ok(self.tables()?.reports_of(key).first().map(|row| (*row).clone()))
    }

    async fn report(&self, reports: Vec<Report>) -> Result<Vec<Unihash>, StorageError> {
        let mut tables = self.tables()?;
        Ok(reports.into_iter().map(|report| tables.report(report)).collect())
    }

    async fn record_unihashes(&self, entries: Vec<UnihashEntry>) -> Result<Vec<Unihash>, StorageError> {
        let mut tables = self.tables()?;
        Ok(entries.into_iter().map(|entry| tables.record(entry)).collect())
    }

    async fn remove(&self, conditions: &Conditions) -> Result<u64, StorageError> {
        let mut tables = self.tables()?;
        let before = tables.row_count();
        tables.unihashes.retain(|key, row| !matches_unihash(conditions, key, row));
        tables.outhashes.retain(|_, row| !matches_report(conditions, row));
        self.announce_removals();
        Ok(before - tables.row_count())
    }

    async fn clean_unused(&self, before: Option<Timestamp>) -> Result<u64, StorageError> {
        let mut tables = self.tables()?;
        let count = tables.row_count();
        let Tables { unihashes, outhashes, .. } = &mut *tables;
        outhashes.retain(|_, row| {
            let is_used = unihashes.contains_key(&(row.method.clone(), row.taskhash.clone()));
            let is_old = before.is_none_or(|before| row.created.is_none_or(|created| created < before));
            is_used || !is_old
        });
        Ok(count - tables.row_count())
    }

    async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError> {
        let mut tables = self.tables()?;
        Ok(requests.iter().map(|request| tables.mark(request)).collect())
    }

    async fn gc_status(&self) -> Result<GcStatus, StorageError> {
        let tables = self.tables()?;
        let current = tables.mark.as_deref().unwrap_or_default();
        let keep = tables.unihashes.values().filter(|row| row.gc_mark == current).count();
        let remove = tables.unihashes.len() - keep;
        Ok(GcStatus { mark: tables.mark.clone(), keep: keep as u64, remove: remove as u64 })
    }

    async fn sweep(&self, mark: &str) -> Result<Sweep, StorageError> {
        let mut tables = self.tables()?;
        // The empty mark is that of rows outside of any collection.
        if mark.is_empty() || tables.mark.as_deref() != Some(mark) {
            return Ok(Sweep::NotCurrentMark);
        }
        let before = tables.row_count();
        tables.unihashes.retain(|_, row| row.gc_mark == mark);
        tables.mark = None;
        self.announce_removals();
        Ok(Sweep::Done(before - tables.row_count()))
    }

    async fn usage(&self) -> Result<Vec<TableUsage>, StorageError> {
        let tables = self.tables()?;
        let counts = [
            ("unihashes", tables.unihashes.len()),
            ("outhashes", tables.outhashes.len()),
            ("users", tables.users.len()),
        ];
        Ok(counts.map(|(table, rows)| TableUsage { table, rows: rows as u64 }).into())
    }

    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StorageError> {
        Ok(self.tables()?.users.get(name).cloned())
    }

    async fn users(&self) -> Result<Vec<UserRecord>, StorageError> {
        Ok(self.tables()?.users.values().cloned().collect())
    }

    async fn create_user(&self, user: NewUser) -> Result<bool, StorageError> {
        let mut tables = self.tables()?;
        if tables.users.contains_key(&user.name) {
            return Ok(false);
        }
        let record = tables.new_user(user);
        tables.users.insert(record.name.clone(), record);
        Ok(true)
    }

    async fn put_user(&self, user: NewUser) -> Result<(), StorageError> {
        let mut tables = self.tables()?;
        let mut record = tables.new_user(user);
        if let Some(known) = tables.users.get(&record.name) {
            record.id = known.id;
        }
        tables.users.insert(record.name.clone(), record);
        Ok(())
    }

    async fn set_permissions(&self, id: i64, permissions: &str) -> Result<bool, StorageError> {
        let mut tables = self.tables()?;
        let found = tables.user_by_id(id);
        Ok(found.map(|user| permissions.clone_into(&mut user.permissions)).is_some())
    }

    async fn set_token(&self, id: i64, token_hash: &str) -> Result<bool, StorageError> {
        let mut tables = self.tables()?;
        let found = tables.user_by_id(id);
        Ok(found.map(|user| token_hash.clone_into(&mut user.token_hash)).is_some())
    }

    async fn delete_user(&self, id: i64) -> Result<bool, StorageError> {
        let mut tables = self.tables()?;
        let count = tables.users.len();
        tables.users.retain(|_, user| user.id != id);
        Ok(tables.users.len() < count)
    }

    fn foreign_removals(&self) -> watch::Receiver<u64> {
        self.database.removals.subscribe()
    }

    async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }
}
