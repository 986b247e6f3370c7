//! Reporting: `report`, `report-equiv`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use hashserv_client::{Client, ClientError, TaskUnihash, Text};
use hashserv_protocol::DEFAULT_MAX_MESSAGE;

use crate::context::Context;
use crate::failure::Failure;

/// Longest file that is read, in bytes. A server takes no longer message unless it is told to.
const MAX_FILE: u64 = DEFAULT_MAX_MESSAGE as u64;

/// Reports what a task produced; prints the unihash that the task has then
///
/// Where the server did not record the report, because it is read-only or does not let you report, the unihash is
/// printed too, and the exit status is 1.
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
            self.outhash_siginfo = Some(read_text(path)?);
        }
        let client = context.connect().await?;
        let reply = client.report(self.arguments()).await?;
        let doubt = doubt(client, &reply).await?;
        match context.json {
            true => context.output.json(&reply)?,
            false => context.output.line(reply.unihash)?,
        }
        // The unihash is of use all the same, so it was printed.
        doubt.map_or(Ok(()), |doubt| Err(Failure::Unrecorded(doubt)))
    }

    fn arguments(self) -> hashserv_client::Report<'static> {
        hashserv_client::Report {
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

/// Reads a file that fits a message.
fn read_text(path: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::File { path: path.display().to_string(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(Failure::FileTooLong { path: path.display().to_string(), max: MAX_FILE });
    }
    Ok(text)
}

/// Reason to doubt that the report was recorded, if there is one.
///
/// A read-only server, or one that does not let the caller report, answers all the same. To report the equivalence
/// that was answered changes nothing where the report was recorded, and is refused where it was not.
pub(super) async fn doubt(client: &mut Client, reply: &TaskUnihash) -> Result<Option<String>, Failure> {
    match client.report_equiv(&reply.method, &reply.taskhash, &reply.unihash).await {
        Ok(_) => Ok(None),
        // Older servers stored unihashes that are refused today.
        Err(ClientError::Refused(reason)) if reason == "Invalid unihash" => Ok(None),
        Err(ClientError::Refused(reason)) => Ok(Some(format!("the report was not recorded: {reason}"))),
        Err(error) if error.is_lost() => Ok(Some(
            "the server may be read-only: it did not confirm that the report was recorded".to_owned(),
        )),
        Err(error) => Err(error.into()),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, client};

    async fn doubt_about(server: Answer) -> Option<String> {
        let reply = TaskUnihash { taskhash: "t".into(), method: "m".into(), unihash: "u".into() };
        doubt(&mut client(&[server; 4]), &reply).await.unwrap()
    }

    #[tokio::test]
    async fn report_that_was_not_recorded_is_told() {
        const RECORDED: Answer = |line| {
            assert_eq!(line, r#"{"report-equiv":{"taskhash":"t","method":"m","unihash":"u"}}"#);
            Some(r#"{"taskhash": "t", "method": "m", "unihash": "u"}"#.to_owned())
        };
        const READ_ONLY: Answer =
            |_| Some(r#"{"invoke-error": {"message": "This server is read-only"}}"#.to_owned());
        const OLD_UNIHASH: Answer =
            |_| Some(r#"{"invoke-error": {"message": "Invalid unihash"}}"#.to_owned());
        assert_eq!(doubt_about(RECORDED).await, None);
        assert_eq!(doubt_about(OLD_UNIHASH).await, None);
        assert_eq!(
            doubt_about(READ_ONLY).await.unwrap(),
            "the report was not recorded: This server is read-only"
        );
        assert!(doubt_about(|_| None).await.unwrap().contains("read-only"));
    }
}
