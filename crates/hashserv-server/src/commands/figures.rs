//! Figures of the requests and of the database.

use std::collections::BTreeMap;

use hashserv_protocol::reply::{Backfill, Columns, DbUsage, Stats, TableUsage};
use hashserv_storage::Column;
use tracing::warn;

use super::exchange::Exchange;
use crate::refusal::Fault;

pub(crate) async fn get_stats(exchange: &mut Exchange<'_>) -> Result<Stats, Fault> {
    Ok(exchange.shared.statistics.read())
}

pub(crate) async fn reset_stats(exchange: &mut Exchange<'_>) -> Result<Stats, Fault> {
    Ok(exchange.shared.statistics.reset())
}

pub(crate) async fn backfill_wait(exchange: &mut Exchange<'_>) -> Result<Backfill, Fault> {
    let equivalence = exchange.shared.service.equivalence();
    let (tasks, lost) = (equivalence.pending_backfill(), equivalence.lost_backfill());
    equivalence.wait_for_backfill().await;
    let lost = equivalence.lost_backfill() - lost;
    if lost > 0 {
        warn!(tasks, lost, "backfill-wait: not every answer of the upstream could be kept");
    }
    Ok(Backfill { tasks })
}

pub(crate) async fn get_db_usage(exchange: &mut Exchange<'_>) -> Result<DbUsage, Fault> {
    let tables = exchange.shared.service.maintenance().usage().await?;
    let usage: BTreeMap<String, TableUsage> =
        tables.into_iter().map(|table| (table.table.to_owned(), TableUsage { rows: table.rows })).collect();
    Ok(DbUsage { usage })
}

pub(crate) fn get_db_query_columns() -> Columns {
    Columns { columns: Column::ALL.iter().map(|column| column.name().to_owned()).collect() }
}
