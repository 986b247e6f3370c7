//! `get-db-query-columns`.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

/// Prints the columns that --where may name, one a line
#[derive(Args, Debug)]
pub(crate) struct GetDbQueryColumns {}

impl GetDbQueryColumns {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let mut reply = client.db_query_columns().await?;
        reply.columns.sort_unstable();
        if context.json {
            return context.output.json(&reply);
        }
        reply.columns.iter().try_for_each(|column| context.output.line(column))
    }
}
