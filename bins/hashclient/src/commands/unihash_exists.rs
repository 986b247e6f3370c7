//! `unihash-exists`.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

/// Tells whether any task has this unihash
#[derive(Args, Debug)]
pub(crate) struct UnihashExists {
    /// Print nothing, but exit with status 1 if it does not exist
    #[arg(short, long)]
    quiet: bool,
    /// Unihash to look for
    unihash: String,
}

impl UnihashExists {
    pub(crate) async fn run(self, context: &mut Context) -> Result<ExitCode, Failure> {
        let client = context.connect().await?;
        let replies = client.exists_stream().await?.exist(&[&self.unihash]).await?;
        let exists = replies == [true];
        if self.quiet {
            return Ok(if exists { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        match context.json {
            true => context.output.json(&serde_json::json!({ "exists": exists }))?,
            false => context.output.line(exists)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
