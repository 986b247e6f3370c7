//! Answers to the lines of a stream mode.

use hashserv_log::RateLimitedWarning;
use hashserv_protocol::reply::Count;
use hashserv_protocol::stream::{self, StreamMode};
use hashserv_protocol::{Framing, MAX_KEY, encode_message};
use hashserv_storage::{MarkRequest, TaskKey, Unihash};

use crate::commands::convert::mark_request;
use crate::refusal::{Fault, Refused};
use crate::shared::Shared;

/// Size of the usual reply in `get-stream` with its end, in bytes.
const UNIHASH_LINE_BYTES: usize = 65;

/// Appends the replies to `lines`. Those before a line that cannot be understood are answered in any case.
pub(super) async fn answer_lines(
    mode: StreamMode,
    shared: &Shared,
    lines: &[&str],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match mode {
        StreamMode::Get => answer_get(shared, lines, out).await,
        StreamMode::Exists => answer_exists(shared, lines, out).await,
        StreamMode::GcMark => answer_gc_mark(shared, lines, out).await,
    }
}

async fn answer_get(shared: &Shared, lines: &[&str], out: &mut Vec<u8>) -> Result<(), Fault> {
    let (keys, error) = parse_until_error(lines, |line| {
        stream::task(line).map(|(method, taskhash)| TaskKey { method, taskhash })
    });
    out.reserve(keys.len() * UNIHASH_LINE_BYTES);
    let unihashes = shared.service.equivalence().unihashes(&keys).await?;
    for (key, unihash) in keys.iter().zip(unihashes) {
        match unihash {
            Some(unihash) if fits_a_line(&unihash) => unihash.append_to(out),
            Some(_) => warn_of_misfit(&shared.misfits, *key),
            None => {}
        }
        out.push(b'\n');
    }
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// Reports whether a client reads the unihash as it is from a line. An older server may have stored anything.
fn fits_a_line(unihash: &Unihash) -> bool {
    if unihash.digest().is_some() {
        return true;
    }
    let text = unihash.to_string();
    text.len() <= MAX_KEY
        && !text.chars().any(|character| {
            // The last stands for stored bytes that are no text.
            character.is_whitespace() || character.is_control() || character == char::REPLACEMENT_CHARACTER
        })
}

fn warn_of_misfit(misfits: &RateLimitedWarning, TaskKey { method, taskhash }: TaskKey<'_>) {
    misfits.log(format_args!(
        "the stored unihash of task {taskhash:?} of method {method:?} is no hash, and counts as unknown in streams; \
         remove it"
    ));
}

async fn answer_exists(shared: &Shared, lines: &[&str], out: &mut Vec<u8>) -> Result<(), Fault> {
    let (unihashes, error) = parse_until_error(lines, |line| stream::unihash(line).map(Unihash::from_stored));
    for exists in shared.service.equivalence().unihashes_exist(&unihashes).await? {
        out.extend_from_slice(stream::existence(exists).as_bytes());
        out.push(b'\n');
    }
    error.map_or(Ok(()), |error| Err(error.into()))
}

async fn answer_gc_mark(shared: &Shared, lines: &[&str], out: &mut Vec<u8>) -> Result<(), Fault> {
    let (requests, error): (Vec<MarkRequest>, Option<Refused>) =
        parse_until_error(lines, |line| mark_request(stream::mark(line)?));
    if !requests.is_empty() {
        for count in shared.service.maintenance().mark(requests).await? {
            // Stream-mode replies are never chunked, and these are short.
            encode_message(&Count { count }, Framing::Messages, out)?;
        }
    }
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// Parses the lines up to the first that cannot be understood.
fn parse_until_error<'a, T, E>(
    lines: &[&'a str],
    parse: impl Fn(&'a str) -> Result<T, E>,
) -> (Vec<T>, Option<E>) {
    let mut parsed = Vec::with_capacity(lines.len());
    for line in lines {
        match parse(line) {
            Ok(query) => parsed.push(query),
            Err(error) => return (parsed, Some(error)),
        }
    }
    (parsed, None)
}

#[cfg(test)]
mod tests {
    use hashserv_protocol::stream::StreamError;

    use super::*;

    #[test]
    fn only_a_unihash_that_is_one_word_fits_a_line() {
        for text in ["b1", "${@x}", "é", &"b1".repeat(32), &"x".repeat(MAX_KEY)] {
            assert!(fits_a_line(&Unihash::from_stored(text)), "{text:?}");
        }
        for text in [
            "a\nb",
            "a\r",
            "a b",
            " a",
            "a\t",
            "a\u{85}b",
            "a\u{2028}b",
            "a\0",
            "\u{fffd}A",
            &"x".repeat(MAX_KEY + 1),
        ] {
            assert!(!fits_a_line(&Unihash::from_stored(text)), "{text:?}");
        }
    }

    #[test]
    fn lines_before_one_that_cannot_be_understood_are_parsed() {
        let (parsed, error) = parse_until_error(&["a b", "c", "d e"], stream::task);
        assert_eq!(parsed, [("a", "b")]);
        assert_eq!(error, Some(StreamError::NotTwoWords("c".to_owned())));
    }
}
