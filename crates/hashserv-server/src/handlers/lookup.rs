//! Looking hashes up.

use hashserv_protocol::arguments::{Output, Task};
use hashserv_protocol::reply::{Alive, Row, TaskUnihash};
use hashserv_service::Permissions;
use hashserv_storage::{OuthashKey, TaskKey};
use serde::Serialize;

use super::Exchange;
use crate::refusal::Fault;
use crate::rows::{outhash_row, task_unihash, unified_row};

/// To `get`: either the unihash, or the whole row.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Found {
    Unihash(Option<TaskUnihash>),
    Row(Option<Box<Row>>),
}

pub(crate) fn ping() -> Alive {
    Alive { alive: true }
}

pub(crate) async fn get(exchange: &mut Exchange<'_>) -> Result<Found, Fault> {
    exchange.require(Permissions::READ).await?;
    let task: Task<'_> = exchange.request.arguments()?;
    let key = TaskKey { method: &task.method, taskhash: &task.taskhash };
    let equivalence = exchange.shared.service.equivalence();
    if task.all {
        Ok(Found::Row(equivalence.task_row(key).await?.map(unified_row).map(Box::new)))
    } else {
        Ok(Found::Unihash(equivalence.unihash(key).await?.map(|unihash| task_unihash(key, &unihash))))
    }
}

pub(crate) async fn get_outhash(exchange: &mut Exchange<'_>) -> Result<Option<Row>, Fault> {
    exchange.require(Permissions::READ).await?;
    let output: Output<'_> = exchange.request.arguments()?;
    let key = OuthashKey { method: &output.method, outhash: &output.outhash };
    let equivalence = exchange.shared.service.equivalence();
    if output.with_unihash {
        Ok(equivalence.outhash_row(key, &output.taskhash).await?.map(unified_row))
    } else {
        Ok(equivalence.outhash_row_alone(key, &output.taskhash).await?.map(outhash_row))
    }
}
