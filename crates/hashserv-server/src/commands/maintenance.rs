//! Removal of entries and reports that are no longer needed.

use hashserv_protocol::arguments::{CleanUnused, GcSweep, Remove};
use hashserv_protocol::reply::{Count, GcStatus};

use super::convert::{conditions_of_removal, mark_request};
use super::exchange::Exchange;
use crate::refusal::{Fault, Refused};

pub(crate) async fn remove(exchange: &mut Exchange<'_>) -> Result<Count, Fault> {
    let arguments: Remove<'_> = exchange.request.arguments()?;
    let conditions = conditions_of_removal(arguments.conditions)?;
    Ok(Count { count: exchange.shared.service.maintenance().remove(&conditions).await? })
}

pub(crate) async fn clean_unused(exchange: &mut Exchange<'_>) -> Result<Count, Fault> {
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
    let request = mark_request(exchange.request.arguments()?)?;
    let counts = exchange.shared.service.maintenance().mark(vec![request]).await?;
    Ok(Count { count: counts.into_iter().sum() })
}

pub(crate) async fn gc_status(exchange: &mut Exchange<'_>) -> Result<GcStatus, Fault> {
    let status = exchange.shared.service.maintenance().gc_status().await?;
    Ok(GcStatus { keep: status.keep, remove: status.remove, mark: status.mark })
}

pub(crate) async fn gc_sweep(exchange: &mut Exchange<'_>) -> Result<Count, Fault> {
    let arguments: GcSweep<'_> = exchange.request.arguments()?;
    Ok(Count { count: exchange.shared.service.maintenance().sweep(&arguments.mark).await? })
}
