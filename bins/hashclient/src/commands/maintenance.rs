//! Removing what is stored: `remove`, `clean-unused`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::conditions::{Columns, conditions};
use crate::context::Context;
use crate::duration;
use crate::failure::Failure;

/// Removes what matches all conditions
///
/// From each of the two tables of hashes the rows are removed that match all the conditions whose columns that
/// table has. `get-db-query-columns` lists the columns.
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Remove what has VALUE in the column KEY; may be repeated
    #[arg(short = 'w', long = "where", num_args = 2, value_names = ["KEY", "VALUE"])]
    conditions: Vec<String>,
}

impl Remove {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let conditions = conditions(self.conditions).map_err(Failure::Usage)?;
        if conditions.is_empty() && !context.json {
            return context.output.line("No query specified");
        }
        let client = context.connect().await?;
        if !conditions.is_empty() {
            let columns = Columns::of(client).await?;
            columns.check_removal(&conditions).map_err(Failure::Usage)?;
        }
        let removed = client.remove(conditions).await?;
        match context.json {
            true => context.output.json(&json!({ "count": removed })),
            false => context.output.line(format_args!("Removed {removed} row(s)")),
        }
    }
}

/// Removes old reports whose task has no unihash
#[derive(Args, Debug)]
pub(crate) struct CleanUnused {
    /// How old reports must be to be removed: seconds, or a time such as 90s, 30m or 12h
    #[arg(value_name = "TIME", value_parser = duration::parse)]
    max_age: Duration,
}

impl CleanUnused {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let removed = client.clean_unused(self.max_age).await?;
        match context.json {
            true => context.output.json(&json!({ "count": removed })),
            false => context.output.line(format_args!("Removed {removed} rows")),
        }
    }
}
