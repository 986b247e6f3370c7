//! `gc-mark`.

use clap::Args;

use crate::conditions::{Columns, conditions};
use crate::context::Context;
use crate::failure::Failure;

/// Without a condition nothing is marked, and the sweep removes everything.
const NO_CONDITION: &str = "gc-mark needs --where: without a condition nothing is marked";

/// Marks unihashes that a garbage collection keeps
///
/// A mark that is not the current one begins a new collection.
#[derive(Args, Debug)]
pub(crate) struct GcMark {
    /// Name of the collection, to be given to gc-sweep in the end
    mark: String,
    /// Mark what has VALUE in the column KEY; may be repeated, all must match
    #[arg(short = 'w', long = "where", num_args = 2, value_names = ["KEY", "VALUE"])]
    conditions: Vec<String>,
}

impl GcMark {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let conditions = conditions(self.conditions).map_err(Failure::Usage)?;
        if conditions.is_empty() {
            return Err(Failure::Usage(NO_CONDITION.to_owned()));
        }
        let client = context.connect().await?;
        Columns::of(client).await?.check_marking(&conditions).map_err(Failure::Usage)?;
        let marked = client.gc_mark(&self.mark, conditions).await?;
        match context.json {
            true => context.output.json(&marked),
            false => context.output.line(format_args!("New hashes marked: {}", marked.count)),
        }
    }
}
