//! `gc-mark-stream`.

use clap::Args;
use hashserv_client::Client;
use hashserv_protocol::arguments::GcMark;
use hashserv_protocol::reply::Count;
use indicatif::ProgressBar;
use tokio::io::AsyncRead;

use crate::conditions::{Columns, conditions};
use crate::context::Context;
use crate::failure::Failure;
use crate::input::{Input, Line};
use crate::older_servers::may_lack;
use crate::{progress, words};

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
            true => context.output.json(&Count { count }),
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

/// Whether the server has the stream mode.
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
    marks: Vec<GcMark<'_>>,
    counter: &ProgressBar,
) -> Result<u64, Failure> {
    let mut count = 0;
    for GcMark { mark, conditions } in marks {
        count += client.gc_mark(&mark, conditions).await?.count;
        counter.inc(1);
    }
    Ok(count)
}

/// What to mark, up to the first line that makes no sense. Blank lines mean nothing.
fn parse<'a>(mark: &'a str, columns: &Columns, lines: &[Line]) -> (Vec<GcMark<'a>>, Option<Failure>) {
    let mut marks = Vec::with_capacity(lines.len());
    for line in lines {
        match parse_line(mark, columns, line) {
            Ok(parsed) => marks.extend(parsed),
            Err(failure) => return (marks, Some(failure)),
        }
    }
    (marks, None)
}

fn parse_line<'a>(mark: &'a str, columns: &Columns, line: &Line) -> Result<Option<GcMark<'a>>, Failure> {
    let words = words::split(&line.text).map_err(|reason| line.malformed(reason))?;
    let conditions = conditions(words).map_err(|reason| line.malformed(reason))?;
    if conditions.is_empty() {
        return Ok(None);
    }
    let unusable = |reason| Failure::UsageLine { number: line.number, reason };
    columns.check_marking(&conditions).map_err(unusable)?;
    line.sendable(GcMark { mark: mark.into(), conditions }).map(Some)
}

#[cfg(test)]
mod tests {
    use hashserv_client::ClientError;

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
}
