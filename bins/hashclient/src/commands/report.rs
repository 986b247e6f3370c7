//! `report`.

use std::path::PathBuf;

use clap::Args;
use hashserv_protocol::Text;
use hashserv_protocol::arguments;

use crate::context::Context;
use crate::failure::Failure;

/// Reports what a task produced; prints the unihash that the task has then
#[derive(Args, Debug)]
pub(crate) struct Report {
    /// Method of the hashes, such as oe.sstatesig.OEOuthashBasic
    #[arg(long)]
    method: String,
    /// Hash of the task's inputs
    #[arg(long)]
    taskhash: String,
    /// Hash of the task's output
    #[arg(long)]
    outhash: String,
    /// Unihash for the task, should nobody have reported the output before: 64 lower-case hex digits
    #[arg(long)]
    unihash: String,
    /// Who reports; a server where you are logged in keeps your user name instead
    #[arg(long)]
    owner: Option<String>,
    /// Name of the recipe (PN)
    #[arg(long)]
    pn: Option<String>,
    /// Version of the recipe (PV)
    #[arg(long)]
    pv: Option<String>,
    /// Revision of the recipe (PR)
    #[arg(long)]
    pr: Option<String>,
    /// Name of the task
    #[arg(long)]
    task: Option<String>,
    /// Text of what was hashed
    #[arg(long, value_name = "TEXT", conflicts_with = "outhash_siginfo_file")]
    outhash_siginfo: Option<String>,
    /// File with the text of what was hashed
    #[arg(long, value_name = "FILE")]
    outhash_siginfo_file: Option<PathBuf>,
}

impl Report {
    pub(crate) async fn run(mut self, context: &mut Context) -> Result<(), Failure> {
        if let Some(path) = &self.outhash_siginfo_file {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|source| Failure::File { path: path.display().to_string(), source })?;
            self.outhash_siginfo = Some(text);
        }
        let mut client = context.connect().await?;
        let reply = client.report(self.arguments()).await?;
        if context.json { context.output.json(&reply) } else { context.output.line(reply.unihash) }
    }

    fn arguments(self) -> arguments::Report<'static> {
        arguments::Report {
            taskhash: self.taskhash.into(),
            method: self.method.into(),
            outhash: self.outhash.into(),
            unihash: self.unihash.into(),
            owner: self.owner.map(Text::from),
            pn: self.pn.map(Text::from),
            pv: self.pv.map(Text::from),
            pr: self.pr.map(Text::from),
            task: self.task.map(Text::from),
            outhash_siginfo: self.outhash_siginfo.map(Text::from),
        }
    }
}
