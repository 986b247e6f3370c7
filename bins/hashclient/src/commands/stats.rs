//! `stats`.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

/// Prints figures of the requests that the server has answered, as JSON
///
/// Times are in seconds.
#[derive(Args, Debug)]
pub(crate) struct Stats {
    /// Begin anew afterwards
    #[arg(long)]
    reset: bool,
}

impl Stats {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let stats = if self.reset { client.reset_stats().await? } else { client.stats().await? };
        context.output.json(&stats)
    }
}
