//! `report-equiv`.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

/// Records the unihash of a task unless it has one; prints the one that it has then
#[derive(Args, Debug)]
pub(crate) struct ReportEquiv {
    /// Method of the hashes, such as oe.sstatesig.OEOuthashBasic
    #[arg(long)]
    method: String,
    /// Hash of the task's inputs
    #[arg(long)]
    taskhash: String,
    /// Unihash for the task: 64 lower-case hex digits
    #[arg(long)]
    unihash: String,
}

impl ReportEquiv {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let reply = client.report_equiv(&self.method, &self.taskhash, &self.unihash).await?;
        if context.json { context.output.json(&reply) } else { context.output.line(reply.unihash) }
    }
}
