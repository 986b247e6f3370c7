//! Removing what is not needed any more.

use hashserv_protocol::arguments::{CleanUnused, GcMark, GcSweep, Remove};
use hashserv_protocol::reply::{Count, GcStatus};
use hashserv_service::Permissions;
use hashserv_storage::MarkRequest;

use super::Exchange;
use crate::conditions::{conditions_of_mark, conditions_of_removal};
use crate::refusal::{Fault, Refused};

pub(crate) async fn remove(exchange: &mut Exchange<'_>) -> Result<Count, Fault> {
    exchange.require(Permissions::DB_ADMIN).await?;
    let arguments: Remove<'_> = exchange.request.arguments()?;
    let conditions = conditions_of_removal(arguments.conditions)?;
    Ok(Count { count: exchange.shared.service.maintenance().remove(&conditions).await? })
}

pub(crate) async fn clean_unused(exchange: &mut Exchange<'_>) -> Result<Count, Fault> {
    exchange.require(Permissions::DB_ADMIN).await?;
    let CleanUnused { max_age_seconds } = exchange.request.arguments()?;
    if max_age_seconds < 0.0 {
        return Err(Refused::new(
            "Invalid arguments for 'clean-unused': max_age_seconds must not be negative",
        )
        .into());
    }
    Ok(Count { count: exchange.shared.service.maintenance().clean_unused(max_age_seconds).await? })
}

pub(crate) async fn gc_mark(exchange: &mut Exchange<'_>) -> Result<Count, Fault> {
    exchange.require(Permissions::DB_ADMIN).await?;
    let request = mark_request(exchange.request.arguments()?)?;
    let counts = exchange.shared.service.maintenance().mark(vec![request]).await?;
    Ok(Count { count: counts.into_iter().sum() })
}

pub(crate) async fn gc_status(exchange: &mut Exchange<'_>) -> Result<GcStatus, Fault> {
    exchange.require(Permissions::DB_ADMIN).await?;
    let status = exchange.shared.service.maintenance().gc_status().await?;
    Ok(GcStatus { keep: status.keep, remove: status.remove, mark: status.mark })
}

pub(crate) async fn gc_sweep(exchange: &mut Exchange<'_>) -> Result<Count, Fault> {
    exchange.require(Permissions::DB_ADMIN).await?;
    let arguments: GcSweep<'_> = exchange.request.arguments()?;
    Ok(Count { count: exchange.shared.service.maintenance().sweep(&arguments.mark).await? })
}

/// What is asked of storage by a mark, in a message or on a line of `gc-mark-stream`.
pub(crate) fn mark_request(arguments: GcMark<'_>) -> Result<MarkRequest, Refused> {
    let conditions = conditions_of_mark(arguments.conditions)?;
    Ok(MarkRequest { conditions, mark: arguments.mark.into_owned() })
}
