//! The one task that writes to the database, for this process.

use std::time::Duration;

use hashserv_storage::{MarkRequest, Unihash};
use serde::de::DeserializeOwned;
use sqlx::{SqlSafeStr as _, SqlStr};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error::Failure;
use super::link::Link;
use super::mark;
use super::patience::Patience;
use super::record::{self, Records};
use crate::closing::Closing;
use crate::queue::{Queue, Recordable as _, Transactions, queue, serve};

/// Time that a transaction has after the time when its caller has waited long enough for it to start.
const RUN_LIMIT: Duration = Duration::from_millis(2500);

/// What writes, in its task.
#[derive(Debug)]
pub(crate) struct Writer {
    link: Link,
}

/// A transaction by itself that removes, and gives an array of numbers.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) sql: SqlStr,
    pub(crate) input: String,
}

/// When a transaction that failed is tried again, while there is patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// Also where it is not known whether it was committed: done twice, it comes to the same.
    Always,
    /// Only where it is certain that it was not committed.
    Never,
}

impl Writer {
    /// Starts the task; it ends when `closing` turns true.
    pub(crate) fn start(link: Link, closing: Closing) -> (Queue<Self>, JoinHandle<()>) {
        let (queue, jobs) = queue();
        let task = async move { serve(Writer { link }, jobs, closing).await.link.close().await };
        (queue, tokio::spawn(task))
    }

    async fn transact<T: DeserializeOwned>(
        &mut self,
        program: SqlStr,
        input: &str,
        repeat: Repeat,
        until: Instant,
    ) -> Result<T, Failure> {
        let mut patience = Patience::at_most_until(until);
        loop {
            let failure = match self.link.transact(program.clone(), input, until + RUN_LIMIT).await {
                Ok(output) => return serde_json::from_str(&output).map_err(decode_error),
                Err(failure) => failure,
            };
            let again = match repeat {
                Repeat::Always => patience.endures(&failure).await,
                Repeat::Never => patience.endures_once(&failure).await,
            };
            if !again {
                return Err(failure);
            }
        }
    }
}

impl Transactions for Writer {
    type Records = Records;
    type Statements = Program;
    type Failure = Failure;

    async fn record(&mut self, records: &[&Records], until: Instant) -> Result<Vec<Unihash>, Failure> {
        let Some(first) = records.first() else { return Ok(Vec::new()) };
        let program = record::program(first.kind());
        let input = record::input(records.iter().copied());
        let texts: Vec<String> = self.transact(program, &input, Repeat::Always, until).await?;
        Ok(texts.iter().map(|text| Unihash::from_stored(text)).collect())
    }

    async fn mark(&mut self, requests: &[&MarkRequest], until: Instant) -> Result<Vec<u64>, Failure> {
        let input = mark::input(requests.iter().copied()).map_err(decode_error)?;
        self.transact(mark::MARK.into_sql_str(), &input, Repeat::Never, until).await
    }

    /// Where it is not known whether the removal was committed, this fails.
    async fn run(&mut self, program: Program, until: Instant) -> Result<Vec<i64>, Failure> {
        self.transact(program.sql, &program.input, Repeat::Never, until).await
    }
}

fn decode_error(error: serde_json::Error) -> Failure {
    sqlx::Error::Decode(error.into()).into()
}
