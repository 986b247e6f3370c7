//! `get-db-usage`.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::table;

/// Prints how many rows each table has
#[derive(Args, Debug)]
pub(crate) struct GetDbUsage {}

impl GetDbUsage {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let reply = client.db_usage().await?;
        if context.json {
            return context.output.json(&reply);
        }
        let total: u64 = reply.usage.values().map(|table| table.rows).sum();
        let mut rows: Vec<_> =
            reply.usage.into_iter().map(|(name, table)| [name, table.rows.to_string()]).collect();
        rows.push(["Total".to_owned(), total.to_string()]);
        context.output.line(table(["Table", "Rows"], rows, true))
    }
}
