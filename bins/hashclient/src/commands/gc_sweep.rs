//! `gc-sweep`.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

/// Removes the unihashes without the mark; this ends the garbage collection
#[derive(Args, Debug)]
pub(crate) struct GcSweep {
    /// Name of the collection as it was given to gc-mark
    mark: String,
}

impl GcSweep {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let mut client = context.connect().await?;
        let removed = client.gc_sweep(&self.mark).await?;
        match context.json {
            true => context.output.json(&removed),
            false => context.output.line(format_args!("Removed {} rows", removed.count)),
        }
    }
}
