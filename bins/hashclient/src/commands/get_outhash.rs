//! `get-outhash`.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

/// Looks up an output: prints its oldest report, with its unihash, as JSON
///
/// Nothing is printed where there is no report of the output; the exit status is 0 then too.
#[derive(Args, Debug)]
pub(crate) struct GetOuthash {
    /// Method of the hashes, such as oe.sstatesig.OEOuthashBasic
    method: String,
    /// Hash of the task's output
    outhash: String,
    /// Hash of the task's inputs; it does not restrict the search
    taskhash: String,
}

impl GetOuthash {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        match client.get_outhash(&self.method, &self.outhash, &self.taskhash, true).await? {
            Some(row) => context.output.json(&row),
            None => Ok(()),
        }
    }
}
