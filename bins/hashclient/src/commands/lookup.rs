//! Looking up: `get`, `get-outhash`, `unihash-exists`.

mod lines;

use std::process::ExitCode;

use clap::Args;
use hashserv_client::Row;

use self::lines::LookUps;
use crate::context::Context;
use crate::failure::Failure;

/// Looks up a task: prints its oldest report, with its unihash, as JSON
///
/// Nothing (with --json: null) is printed where there is no report of the task; the exit status is 0 then too.
///
/// With --stdin, lines METHOD TASKHASH are read from standard input, and for each of them METHOD TASKHASH
/// UNIHASH is printed, with - instead of a unihash that is not known. Any number of lines can be looked up
/// that way, quickly.
#[derive(Args, Debug)]
pub(crate) struct Get {
    /// Method of the hashes, such as oe.sstatesig.OEOuthashBasic
    #[arg(required_unless_present = "stdin")]
    method: Option<String>,
    /// Hash of the task's inputs
    #[arg(required_unless_present = "stdin")]
    taskhash: Option<String>,
    /// Look up the lines of standard input
    #[arg(long, conflicts_with_all = ["method", "taskhash", "json"])]
    stdin: bool,
}

impl Get {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let window = context.retry_window();
        let client = context.link.connect().await?;
        let (Some(method), Some(taskhash)) = (self.method, self.taskhash) else {
            let output = &mut context.output;
            return LookUps::new(tokio::io::stdin(), output).run(client, window).await;
        };
        let row = client.get_row(&method, &taskhash).await?;
        print(context, row)
    }
}

/// Prints a row; where there is none, only where a document is expected.
fn print(context: &mut Context, row: Option<Row>) -> Result<(), Failure> {
    match row {
        None if !context.json => Ok(()),
        row => context.output.json(&row),
    }
}

/// Looks up an output: prints its oldest report, with its unihash, as JSON
///
/// Nothing (with --json: null) is printed where there is no report of the output; the exit status is 0 then too.
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
        let row = client.get_outhash(&self.method, &self.outhash, &self.taskhash, true).await?;
        print(context, row)
    }
}

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
