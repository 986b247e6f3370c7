//! Upstreams without a network.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hashserv_service::{Unavailable, Upstream};
use hashserv_storage::{Details, OuthashKey, OuthashRow, TaskKey, UnifiedRow, Unihash};

use crate::support::{GENEROUS_TIMEOUT, hash};

/// An upstream that gives every question the same kind of answer.
#[derive(Debug)]
pub(crate) struct Scripted {
    answer: Mutex<Answer>,
    timeout: Duration,
    asked: AtomicUsize,
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Unknown,
    Unavailable,
    Unihash(Unihash),
}

impl Scripted {
    pub(crate) fn new(answer: Answer) -> Arc<Self> {
        Self::with_timeout(answer, GENEROUS_TIMEOUT)
    }

    pub(crate) fn with_timeout(answer: Answer, timeout: Duration) -> Arc<Self> {
        Arc::new(Scripted { answer: Mutex::new(answer), timeout, asked: AtomicUsize::new(0) })
    }

    /// Has it answer otherwise from now on.
    pub(crate) fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn answer(&self) -> Result<Option<Unihash>, Unavailable> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match &*self.answer.lock().unwrap() {
            Answer::Unknown => Ok(None),
            Answer::Unavailable => Err(Unavailable),
            Answer::Unihash(unihash) => Ok(Some(unihash.clone())),
        }
    }

    fn row(
        &self,
        method: &str,
        taskhash: &str,
        outhash: &str,
    ) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        let report = OuthashRow {
            id: 1,
            method: method.to_owned(),
            taskhash: taskhash.to_owned(),
            outhash: outhash.to_owned(),
            created: None,
            details: Details { pn: Some("gcc".to_owned()), ..Details::default() },
        };
        Ok(self.answer()?.map(|unihash| Arc::new(UnifiedRow { report, unihash, gc_mark: String::new() })))
    }
}

#[async_trait]
impl Upstream for Scripted {
    fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Vec<Result<Option<Unihash>, Unavailable>> {
        keys.iter().map(|_| self.answer()).collect()
    }

    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Vec<Result<bool, Unavailable>> {
        unihashes.iter().map(|_| self.answer().map(|answer| answer.is_some())).collect()
    }

    async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        self.row(key.method, key.taskhash, &hash(77))
    }

    async fn outhash_row(
        &self,
        key: OuthashKey<'_>,
        _: &str,
    ) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        self.row(key.method, &hash(88), key.outhash)
    }

    async fn close(&self) {}
}
