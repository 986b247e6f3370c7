//! `get`.

use std::time::Duration;

use clap::Args;
use hashserv_client::{ClientError, Get as GetMode, QuerySender, ReplyReceiver};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::context::Context;
use crate::failure::Failure;
use crate::input::{Input, Line};
use crate::output::Output;
use crate::progress;

/// How many batches of input lines, each of about 128 KiB at most, may wait for their replies.
const MAX_PENDING: usize = 16;

/// How long the server may send nothing while replies are awaited.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Looks up a task: prints its oldest report, with its unihash, as JSON
///
/// Nothing is printed where there is no report of the task; the exit status is 0 then too.
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

type Task = (String, String);

impl Get {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let mut client = context.connect().await?;
        let (Some(method), Some(taskhash)) = (self.method, self.taskhash) else {
            let (sender, receiver) = client.pipeline().await?;
            return look_up(tokio::io::stdin(), sender, receiver, &mut context.output).await;
        };
        match client.get_row(&method, &taskhash).await? {
            Some(row) => context.output.json(&row),
            None => Ok(()),
        }
    }
}

/// Asks for every line of `source` and prints the answers, in order, as they arrive.
async fn look_up(
    source: impl AsyncRead + Unpin,
    sender: QuerySender<GetMode>,
    receiver: ReplyReceiver<GetMode>,
    output: &mut Output,
) -> Result<(), Failure> {
    let (pending, awaited) = mpsc::channel(MAX_PENDING);
    let asking = ask(Input::new(source), sender, pending);
    let printing = print_replies(receiver, awaited, output);
    tokio::pin!(asking, printing);
    tokio::select! {
        // It ends before the asking does only if it fails.
        printed = &mut printing => printed,
        asked = &mut asking => {
            printing.await?;
            asked
        }
    }
}

/// Sends a query for every line, and tells `pending` what was asked, until the input ends or a line makes no
/// sense.
async fn ask(
    mut input: Input<impl AsyncRead + Unpin>,
    mut sender: QuerySender<GetMode>,
    pending: mpsc::Sender<Vec<Task>>,
) -> Result<(), Failure> {
    loop {
        let lines = input.batch().await?;
        if lines.is_empty() {
            return Ok(());
        }
        let (tasks, malformed) = parse(&lines);
        if !tasks.is_empty() {
            // Announced before they are sent, so that replies are read while a long batch is written.
            if pending.send(tasks.clone()).await.is_err() {
                return Ok(());
            }
            sender.send(&tasks).await?;
        }
        malformed.map_or(Ok(()), Err)?;
    }
}

/// The tasks of the lines, up to the first line that makes no sense.
fn parse(lines: &[Line]) -> (Vec<Task>, Option<Failure>) {
    let mut tasks = Vec::with_capacity(lines.len());
    for line in lines {
        match parse_line(line) {
            Ok(task) => tasks.push(task),
            Err(failure) => return (tasks, Some(failure)),
        }
    }
    (tasks, None)
}

fn parse_line(line: &Line) -> Result<Task, Failure> {
    let mut words = line.text.split_whitespace().map(str::to_owned);
    match (words.next(), words.next(), words.next()) {
        (Some(method), Some(taskhash), None) => line.sendable::<GetMode, _>((method, taskhash)),
        _ => Err(line.malformed("METHOD TASKHASH expected")),
    }
}

async fn print_replies(
    mut receiver: ReplyReceiver<GetMode>,
    mut awaited: mpsc::Receiver<Vec<Task>>,
    output: &mut Output,
) -> Result<(), Failure> {
    let counter = progress::counter("looked up");
    while let Some(tasks) = awaited.recv().await {
        let mut replies = Vec::with_capacity(tasks.len());
        while replies.len() < tasks.len() {
            let printed = replies.len();
            let received = receiver.receive(&mut replies, tasks.len());
            let timeout = ClientError::Timeout { after: REPLY_TIMEOUT };
            let received = tokio::time::timeout(REPLY_TIMEOUT, received).await.unwrap_or(Err(timeout));
            for ((method, taskhash), unihash) in tasks.iter().zip(&replies).skip(printed) {
                let unihash = unihash.as_deref().unwrap_or("-");
                output.line(format_args!("{method} {taskhash} {unihash}"))?;
            }
            output.flush()?;
            received?;
            counter.inc((replies.len() - printed) as u64);
        }
    }
    counter.finish_and_clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, Printed, client};

    /// A server that knows all taskhashes but those that begin with x.
    const SERVER: Answer = |line| match line {
        r#"{"get-stream":null}"# => Some("\"ok\"".to_owned()),
        "m closes" => None,
        "m refused" => Some(r#"{"invoke-error": {"message": "No"}}"#.to_owned()),
        query => {
            let taskhash = query.strip_prefix("m ").unwrap();
            Some(if taskhash.starts_with('x') { String::new() } else { format!("u{taskhash}") })
        }
    };

    async fn run(input: &str) -> (String, Result<(), Failure>) {
        let printed = Printed::default();
        let (sender, receiver) = client(&[SERVER]).pipeline().await.unwrap();
        let result = look_up(input.as_bytes(), sender, receiver, &mut Output::to(printed.clone())).await;
        (printed.text(), result)
    }

    #[tokio::test]
    async fn every_line_is_answered_in_order() {
        let (printed, result) = run("m a\n m\tx \nm b").await;
        result.unwrap();
        assert_eq!(printed, "m a ua\nm x -\nm b ub\n");
        assert_eq!(run("").await.0, "");
    }

    #[tokio::test]
    async fn any_number_of_lines_is_looked_up() {
        let input: String = (0..50_000).map(|number| format!("m {number}\n")).collect();
        let (printed, result) = run(&input).await;
        result.unwrap();
        assert!(printed.lines().enumerate().all(|(at, line)| line == format!("m {at} u{at}")));
        assert_eq!(printed.lines().count(), 50_000);
    }

    #[tokio::test]
    async fn what_comes_before_a_malformed_line_is_answered() {
        let (printed, result) = run("m a\nm b\nm\nm c\n").await;
        assert_eq!(printed, "m a ua\nm b ub\n");
        assert_eq!(result.unwrap_err().to_string(), "line 3 of standard input: METHOD TASKHASH expected");
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_sent_is_named_and_no_reply_to_it_awaited() {
        for (line, reason) in [
            ("m \u{1}".to_owned(), "must not be empty nor have blanks or control characters in it"),
            (format!("m {}", "x".repeat(32 * 1024)), "longer than 32768 bytes"),
        ] {
            let (printed, result) = run(&format!("m a\n{line}\nm b\n")).await;
            assert_eq!(printed, "m a ua\n");
            let told = result.unwrap_err().to_string();
            assert!(told.starts_with("line 2 of standard input: ") && told.ends_with(reason), "{told}");
        }
    }

    #[tokio::test]
    async fn what_was_answered_before_a_failure_is_printed() {
        let (printed, result) = run("m a\nm closes\nm b\n").await;
        assert_eq!(printed, "m a ua\n");
        assert!(matches!(result, Err(Failure::Client(ClientError::Closed))), "{result:?}");
        let (_, result) = run("m a\nm refused\n").await;
        assert_eq!(result.unwrap_err().to_string(), "No");
    }

    #[tokio::test]
    async fn a_reply_does_not_wait_for_the_input_to_end() {
        let (mut keyboard, input) = tokio::io::duplex(100);
        let printed = Printed::default();
        let mut output = Output::to(printed.clone());
        let (sender, receiver) = client(&[SERVER]).pipeline().await.unwrap();
        let typing = async {
            tokio::io::AsyncWriteExt::write_all(&mut keyboard, b"m a\n").await.unwrap();
            while printed.text() != "m a ua\n" {
                tokio::task::yield_now().await;
            }
            drop(keyboard);
        };
        let (result, ()) = tokio::join!(look_up(input, sender, receiver, &mut output), typing);
        result.unwrap();
    }
}
