//! `gc-mark`.

use clap::Args;

use crate::conditions::conditions;
use crate::context::Context;
use crate::failure::Failure;

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
        let mut client = context.connect().await?;
        let marked = client.gc_mark(&self.mark, conditions).await?;
        match context.json {
            true => context.output.json(&marked),
            false => context.output.line(format_args!("New hashes marked: {}", marked.count)),
        }
    }
}
