//! Garbage collection: `gc-mark`, `gc-mark-stream`, `gc-status`, `gc-sweep`.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use hashserv_client::{Client, ClientError, GcMark as Marking};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::io::AsyncRead;

use crate::conditions::{Columns, conditions};
use crate::context::Context;
use crate::failure::Failure;
use crate::input::{Input, Line};
use crate::older_servers::may_lack;
use crate::{progress, words};

/// Marks unihashes that a garbage collection keeps
///
/// A mark that is not the current one begins a new collection.
#[derive(Args, Debug)]
pub(crate) struct GcMark {
    /// Name of the collection, to be given to gc-sweep in the end
    mark: String,
    /// Mark what has VALUE in the column KEY; may be repeated, all must match
    // Without a condition nothing would be marked, and the sweep would remove everything.
    #[arg(short = 'w', long = "where", num_args = 2, required = true, value_names = ["KEY", "VALUE"])]
    conditions: Vec<String>,
}

impl GcMark {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let conditions = conditions(self.conditions).map_err(Failure::Usage)?;
        let client = context.connect().await?;
        Columns::of(client).await?.check_marking(&conditions).map_err(Failure::Usage)?;
        let marked = client.gc_mark(&self.mark, conditions).await?;
        match context.json {
            true => context.output.json(&json!({ "count": marked })),
            false => context.output.line(format_args!("New hashes marked: {marked}")),
        }
    }
}

/// Marks many unihashes that a garbage collection keeps, from standard input
///
/// Each line has conditions, all of which must match: COLUMN VALUE COLUMN VALUE and so on, with quotes as in a shell
/// where a value has blanks.
#[derive(Args, Debug)]
pub(crate) struct GcMarkStream {
    /// Name of the collection, to be given to gc-sweep in the end
    mark: String,
}

impl GcMarkStream {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let count = mark_all(client, &self.mark, tokio::io::stdin()).await?;
        match context.json {
            true => context.output.json(&json!({ "count": count })),
            false => context.output.line(format_args!("New hashes marked: {count}")),
        }
    }
}

/// Marks what the lines say, and returns how many unihashes that were.
async fn mark_all(client: &mut Client, mark: &str, source: impl AsyncRead + Unpin) -> Result<u64, Failure> {
    let columns = Columns::of(client).await?;
    let has_mode = offers_mode(client).await?;
    let counter = progress::counter("lines marked");
    let mut input = Input::new(source);
    let mut count = 0;
    loop {
        let lines = input.batch().await?;
        if lines.is_empty() {
            counter.finish_and_clear();
            return Ok(count);
        }
        let (marks, malformed) = parse(mark, &columns, &lines);
        count += match has_mode {
            true => client.mark_stream().await?.mark(&marks).await?.iter().sum::<u64>(),
            false => mark_singly(client, marks, &counter).await?,
        };
        counter.inc(if has_mode { lines.len() as u64 } else { 0 });
        malformed.map_or(Ok(()), Err)?;
    }
}

/// Returns true if the server has the stream mode.
async fn offers_mode(client: &mut Client) -> Result<bool, Failure> {
    match client.mark_stream().await {
        Ok(_) => Ok(true),
        Err(error) if may_lack(&error) => {
            tracing::info!(%error, "the server lacks gc-mark-stream, each line is marked with gc-mark");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn mark_singly(
    client: &mut Client,
    marks: Vec<Marking<'_>>,
    counter: &ProgressBar,
) -> Result<u64, Failure> {
    let mut count = 0;
    for Marking { mark, conditions } in marks {
        count += client.gc_mark(&mark, conditions).await?;
        counter.inc(1);
    }
    Ok(count)
}

/// Marks to set, up to the first line that makes no sense. Blank lines mean nothing.
fn parse<'a>(mark: &'a str, columns: &Columns, lines: &[Line]) -> (Vec<Marking<'a>>, Option<Failure>) {
    let mut marks = Vec::with_capacity(lines.len());
    for line in lines {
        match parse_line(mark, columns, line) {
            Ok(parsed) => marks.extend(parsed),
            Err(failure) => return (marks, Some(failure)),
        }
    }
    (marks, None)
}

fn parse_line<'a>(mark: &'a str, columns: &Columns, line: &Line) -> Result<Option<Marking<'a>>, Failure> {
    let words = words::split(&line.text).map_err(|reason| line.malformed(reason))?;
    let conditions = conditions(words).map_err(|reason| line.malformed(reason))?;
    if conditions.is_empty() {
        return Ok(None);
    }
    let unusable = |reason| Failure::UsageLine { number: line.number, reason };
    columns.check_marking(&conditions).map_err(unusable)?;
    line.sendable(Marking { mark: mark.into(), conditions }).map(Some)
}

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

/// Removes the unihashes without the mark; this ends the garbage collection
///
/// Where nothing has the mark, everything would be removed. That is done only after a question on the terminal, or
/// with --yes.
#[derive(Args, Debug)]
pub(crate) struct GcSweep {
    /// Name of the collection as it was given to gc-mark
    mark: String,
    /// Sweep even where nothing would be kept
    #[arg(short, long)]
    yes: bool,
}

impl GcSweep {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        if !self.yes
            && let Some(count) = removed_if_nothing_is_kept(client, &self.mark).await?
        {
            confirm(&self.mark, count).await?;
        }
        let removed = client.gc_sweep(&self.mark).await?;
        match context.json {
            true => context.output.json(&json!({ "count": removed })),
            false => context.output.line(format_args!("Removed {removed} rows")),
        }
    }
}

/// The number of unihashes, if the sweep would remove all of them.
async fn removed_if_nothing_is_kept(client: &mut Client, mark: &str) -> Result<Option<u64>, Failure> {
    let status = client.gc_status().await.map_err(|error| match error {
        ClientError::Refused(reason) => Failure::Unconfirmed(format!(
            "not swept, since the server does not tell what would be kept: {reason}"
        )),
        error => error.into(),
    })?;
    // The server refuses to sweep by another mark than the current one.
    let is_current = status.mark.as_deref() == Some(mark);
    Ok(Some(status.remove).filter(|count| is_current && status.keep == 0 && *count > 0))
}

async fn confirm(mark: &str, count: u64) -> Result<(), Failure> {
    let consequence = format!("nothing has the mark '{mark}', so the sweep removes all {count} unihashes");
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::Unconfirmed(format!("{consequence}; use --yes if that is meant")));
    }
    let answer = tokio::task::spawn_blocking(move || {
        write!(io::stderr(), "{consequence}. Continue? [y/N] ")?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer)
    });
    let answer = answer.await?.map_err(Failure::Input)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Unconfirmed("not swept".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, client};

    const COLUMNS: &str = r#"{"columns": ["unihash", "method", "PN"]}"#;

    const STREAMING: Answer = |line| match line {
        r#"{"get-db-query-columns":null}"# => Some(COLUMNS.to_owned()),
        "END" => Some("ok".to_owned()),
        r#"{"gc-mark-stream":null}"# => Some("\"ok\"".to_owned()),
        _ => {
            assert!(line.starts_with(r#"{"mark":"M","where":{""#), "{line}");
            Some(r#"{"count": 2}"#.to_owned())
        }
    };

    const CLOSING: Answer = |_| None;

    const REFUSING: Answer = |_| Some(r#"{"invoke-error": {"message": "Unknown command"}}"#.to_owned());

    const MARKING: Answer = |line| {
        assert!(line.starts_with(r#"{"gc-mark":{"mark":"M","where":{""#), "{line}");
        Some(r#"{"count": 3}"#.to_owned())
    };

    async fn run(servers: &[Answer], input: &str) -> Result<u64, Failure> {
        mark_all(&mut client(servers), "M", input.as_bytes()).await
    }

    #[tokio::test]
    async fn lines_are_marked_in_the_stream() {
        let marked = run(&[STREAMING], "unihash a\n\nmethod 'm n' PN \"p\"\n").await;
        assert_eq!(marked.unwrap(), 4);
    }

    #[tokio::test]
    async fn without_the_mode_no_line_is_lost() {
        let lines = "unihash a\nunihash b\n";
        let old = [CLOSING; 8];
        assert_eq!(run(&[&old[..], &[MARKING]].concat(), lines).await.unwrap(), 6);
        assert_eq!(run(&[REFUSING, REFUSING], "").await.unwrap(), 0);
        let refused = run(&[REFUSING, REFUSING, REFUSING], lines).await;
        assert!(matches!(refused, Err(Failure::Client(ClientError::Refused(_)))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_refusal_for_another_reason_is_told_even_without_lines() {
        const FORBIDDING: Answer =
            |_| Some(r#"{"invoke-error": {"message": "User does not have @db-admin"}}"#.to_owned());
        assert_eq!(run(&[FORBIDDING], "").await.unwrap_err().to_string(), "User does not have @db-admin");
    }

    #[tokio::test]
    async fn a_malformed_line_is_named() {
        let long = format!("unihash {}", "x".repeat(40 * 1024));
        for (line, reason) in [
            (long.as_str(), "the request cannot be sent: a query is longer than 32768 bytes"),
            ("unihash", "the column 'unihash' has no value"),
            ("unihash 'a", "a quotation mark is not closed"),
            ("unihash a unihash b", "the column 'unihash' is given twice"),
        ] {
            let error = run(&[STREAMING], &format!("unihash a\n{line}\n")).await.unwrap_err();
            assert_eq!(error.to_string(), format!("line 2 of standard input: {reason}"));
        }
    }

    #[tokio::test]
    async fn line_that_would_mark_nothing_is_a_usage_error_and_is_not_sent() {
        const STRICT: Answer = |line| {
            assert!(!line.contains(r#""mark""#), "{line}");
            STREAMING(line)
        };
        for (line, named) in [("metod x", "'metod'"), ("PN p", "'PN'"), ("metod x method m", "'metod'")] {
            let failure = run(&[STRICT], line).await.unwrap_err();
            assert_eq!(failure.status(), 2);
            let told = failure.to_string();
            assert!(told.starts_with("line 1 of standard input: ") && told.contains(named), "{told}");
        }
    }

    #[tokio::test]
    async fn refusal_to_tell_what_is_kept_speaks_of_the_sweep() {
        let told = removed_if_nothing_is_kept(&mut client(&[REFUSING]), "M").await.unwrap_err().to_string();
        assert!(
            told.starts_with("not swept, since the server") && told.ends_with(": Unknown command"),
            "{told}"
        );
    }

    async fn asked(server: Answer) -> Option<u64> {
        removed_if_nothing_is_kept(&mut client(&[server]), "M").await.unwrap()
    }

    #[tokio::test]
    async fn sweep_is_confirmed_where_nothing_would_be_kept() {
        assert_eq!(asked(|_| Some(r#"{"keep": 0, "remove": 7, "mark": "M"}"#.to_owned())).await, Some(7));
        assert_eq!(asked(|_| Some(r#"{"keep": 1, "remove": 7, "mark": "M"}"#.to_owned())).await, None);
        assert_eq!(asked(|_| Some(r#"{"keep": 0, "remove": 0, "mark": "M"}"#.to_owned())).await, None);
        assert_eq!(asked(|_| Some(r#"{"keep": 0, "remove": 7, "mark": "N"}"#.to_owned())).await, None);
    }
}
