//! Look-ups of hashes.

use hashserv_protocol::arguments::{Output, Task};
use hashserv_protocol::reply::{Alive, Reply, Row};
use hashserv_storage::{OuthashKey, TaskKey};

use super::convert::{outhash_row, task_unihash, unified_row};
use super::exchange::Exchange;
use crate::refusal::Fault;

pub(crate) fn ping() -> Alive {
    Alive { alive: true }
}

pub(crate) async fn get(exchange: &mut Exchange<'_>) -> Result<Reply, Fault> {
    let task: Task<'_> = exchange.request.arguments()?;
    let key = TaskKey { method: &task.method, taskhash: &task.taskhash };
    let equivalence = exchange.shared.service.equivalence();
    if task.all {
        Ok(equivalence.task_row(key).await?.map(unified_row).map(Box::new).into())
    } else {
        Ok(equivalence.unihash(key).await?.map(|unihash| task_unihash(key, &unihash)).into())
    }
}

pub(crate) async fn get_outhash(exchange: &mut Exchange<'_>) -> Result<Option<Box<Row>>, Fault> {
    let output: Output<'_> = exchange.request.arguments()?;
    let key = OuthashKey { method: &output.method, outhash: &output.outhash };
    let equivalence = exchange.shared.service.equivalence();
    if output.with_unihash {
        Ok(equivalence.outhash_row(key, &output.taskhash).await?.map(unified_row).map(Box::new))
    } else {
        Ok(equivalence.outhash_row_alone(key, &output.taskhash).await?.map(outhash_row).map(Box::new))
    }
}
