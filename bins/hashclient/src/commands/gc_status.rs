//! `gc-status`.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

/// Tells how far a garbage collection is
#[derive(Args, Debug)]
pub(crate) struct GcStatus {}

impl GcStatus {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let status = client.gc_status().await?;
        if context.json {
            return context.output.json(&status);
        }
        let Some(mark) = status.mark else { return context.output.line("No Garbage collection in progress") };
        context.output.line(format_args!("Current Mark: {mark}"))?;
        context.output.line(format_args!("Total hashes to keep: {}", status.keep))?;
        context.output.line(format_args!("Total hashes to remove: {}", status.remove))
    }
}
