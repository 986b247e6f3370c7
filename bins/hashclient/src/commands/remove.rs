//! `remove`.

use clap::Args;

use crate::conditions::{Columns, conditions};
use crate::context::Context;
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
            true => context.output.json(&removed),
            false => context.output.line(format_args!("Removed {} row(s)", removed.count)),
        }
    }
}
