//! Stream modes: a query a line, a reply a line.

mod ahead;

use std::time::Instant;

use hashserv_log::RateLimitedWarning;
use hashserv_protocol::reply::Count;
use hashserv_protocol::stream;
use hashserv_protocol::{Command, Framing, LineTooLong, MAX_KEY, MAX_LINE, encode_message};
use hashserv_service::Permissions;
use hashserv_storage::{MarkRequest, TaskKey, Unihash};

use crate::handlers::maintenance::mark_request;
use crate::refusal::{Fault, Refused};
use crate::server::Shared;
use crate::session::{End, Session};

/// How many lines are answered together at most.
const MAX_LINES: usize = 1024;

/// How many bytes the usual reply in `get-stream` has, with its end.
const REPLY: usize = 65;

/// A stream mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Get,
    Exists,
    GcMark,
}

impl Mode {
    /// The mode that a command switches to.
    pub(crate) fn of(command: Command) -> Option<Mode> {
        match command {
            Command::GetStream => Some(Mode::Get),
            Command::ExistsStream => Some(Mode::Exists),
            Command::GcMarkStream => Some(Mode::GcMark),
            _ => None,
        }
    }

    /// Whether clients take any line for a reply to their query, so that nothing else must be sent.
    fn has_bare_replies(self) -> bool {
        match self {
            Mode::Get | Mode::Exists => true,
            Mode::GcMark => false,
        }
    }

    /// What the caller needs.
    pub(crate) fn permissions(self) -> Permissions {
        match self {
            Mode::Get | Mode::Exists => Permissions::READ,
            Mode::GcMark => Permissions::DB_ADMIN,
        }
    }
}

/// The lines that are answered together.
struct Batch<'a> {
    lines: Vec<&'a str>,
    /// How many bytes the lines have with their ends, those of the line that ends the batch included.
    bytes: usize,
    stop: Stop,
}

/// Why a batch has no further lines.
enum Stop {
    /// There are none, or it is full.
    Later,
    /// The client ends the mode.
    End,
    /// A line cannot be understood.
    Refused(Refused),
}

impl Session {
    /// Serves queries until the client ends the mode. Where clients take any line for a reply, nothing else is
    /// ever sent.
    ///
    /// All lines that have arrived are answered together and sent at once; a lone query waits for nothing.
    pub(crate) async fn stream_mode(&mut self, mode: Mode) -> Result<(), End> {
        let ended = if mode != Mode::GcMark && self.shared.service.equivalence().has_upstream() {
            Box::pin(self.stream_mode_ahead(mode)).await
        } else {
            self.stream_mode_in_turn(mode).await
        };
        ended.map_err(|end| match end {
            End::Refused(refused) if mode.has_bare_replies() => End::RefusedInSilence(refused),
            end => end,
        })
    }

    /// Serves queries, each batch after the one before.
    async fn stream_mode_in_turn(&mut self, mode: Mode) -> Result<(), End> {
        loop {
            let started = Instant::now();
            let framing = self.connection.framing();
            let block = self.connection.lines().complete().map_err(Refused::from)?;
            if block.is_empty() {
                self.send_and_receive().await?;
                continue;
            }
            let batch = Batch::read(block, framing);
            // A user may have lost the permission since the switch.
            self.shared
                .service
                .accounts()
                .require(&mut self.caller, mode.permissions())
                .await
                .map_err(Fault::from)?;
            let answered = answer(mode, &self.shared, &batch.lines, &mut self.out).await;
            self.shared.statistics.record(batch.lines.len(), started.elapsed());
            let Batch { bytes, stop, lines } = batch;
            let work = lines.len();
            self.connection.lines().consume(bytes);
            answered?;
            self.turn.pass(work).await;
            match stop {
                Stop::Later => self.send_if_many().await?,
                Stop::End => {
                    self.end_of_mode();
                    return Ok(());
                }
                Stop::Refused(refused) => return Err(refused.into()),
            }
        }
    }

    fn end_of_mode(&mut self) {
        self.out.extend_from_slice(stream::OK.as_bytes());
        self.out.push(b'\n');
    }
}

impl<'a> Batch<'a> {
    /// Takes lines from a block of whole lines, as far as they can be answered together.
    fn read(block: &'a [u8], framing: Framing) -> Self {
        let mut batch = Batch {
            lines: Vec::with_capacity(MAX_LINES.min(block.len() / 64 + 1)),
            bytes: 0,
            stop: Stop::Later,
        };
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', block) {
            let line = &block[from..end];
            from = end + 1;
            batch.bytes = from;
            match check_line(line, framing) {
                Ok(line) if stream::is_end(line) => batch.stop = Stop::End,
                Ok(line) => batch.lines.push(line),
                Err(refused) => batch.stop = Stop::Refused(refused),
            }
            if batch.lines.len() >= MAX_LINES || !matches!(batch.stop, Stop::Later) {
                break;
            }
        }
        batch
    }
}

/// White space at the end of a line is dropped; a WebSocket message is taken as it is.
fn check_line(line: &[u8], framing: Framing) -> Result<&str, Refused> {
    if line.len() > MAX_LINE {
        return Err(LineTooLong { max: MAX_LINE }.into());
    }
    Ok(stream::text(match framing {
        Framing::Lines => line.trim_ascii_end(),
        Framing::Messages => line,
    })?)
}

/// Appends the replies to `lines`. Those before a line that cannot be understood are answered in any case.
async fn answer(mode: Mode, shared: &Shared, lines: &[&str], out: &mut Vec<u8>) -> Result<(), Fault> {
    match mode {
        Mode::Get => answer_get(shared, lines, out).await,
        Mode::Exists => answer_exists(shared, lines, out).await,
        Mode::GcMark => answer_gc_mark(shared, lines, out).await,
    }
}

async fn answer_get(shared: &Shared, lines: &[&str], out: &mut Vec<u8>) -> Result<(), Fault> {
    let (keys, error) = parse_until_error(lines, |line| {
        stream::task(line).map(|(method, taskhash)| TaskKey { method, taskhash })
    });
    out.reserve(keys.len() * REPLY);
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

/// Whether a client reads the unihash as it is from a line. An older server may have stored anything.
fn fits_a_line(unihash: &Unihash) -> bool {
    if unihash.digest().is_some() {
        return true;
    }
    let text = unihash.to_string();
    text.len() <= MAX_KEY
        && !text.chars().any(|character| character.is_whitespace() || character.is_control())
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

/// What the lines say, up to the first that cannot be understood.
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
    fn a_batch_ends_at_the_end_of_the_mode() {
        for (block, lines, bytes) in
            [(&b"a b\nc d\nEND\n{}\n"[..], 2, 12), (b"a b\n\nc d\n", 1, 5), (b"END \n", 0, 5)]
        {
            let batch = Batch::read(block, Framing::Lines);
            assert_eq!((batch.lines.len(), batch.bytes), (lines, bytes));
            assert!(matches!(batch.stop, Stop::End));
        }
    }

    #[test]
    fn a_websocket_message_is_taken_with_its_blanks() {
        let batch = Batch::read(b"END \nEND\n", Framing::Messages);
        assert_eq!((batch.lines, batch.bytes), (vec!["END "], 9));
    }

    #[test]
    fn a_batch_ends_at_a_line_that_is_no_text() {
        let batch = Batch::read(b"a b\n\xff\xfe\nc d\n", Framing::Lines);
        assert_eq!((batch.lines.len(), batch.bytes), (1, 7));
        assert!(matches!(batch.stop, Stop::Refused(_)));
    }

    #[test]
    fn a_batch_has_a_bounded_number_of_lines() {
        let block = b"a b\n".repeat(MAX_LINES + 1);
        let batch = Batch::read(&block, Framing::Lines);
        assert_eq!((batch.lines.len(), batch.bytes), (MAX_LINES, 4 * MAX_LINES));
        assert!(matches!(batch.stop, Stop::Later));
    }

    #[test]
    fn only_a_unihash_that_is_one_word_fits_a_line() {
        for text in ["b1", "${@x}", "é", &"b1".repeat(32), &"x".repeat(MAX_KEY)] {
            assert!(fits_a_line(&Unihash::from_stored(text)), "{text:?}");
        }
        for text in
            ["a\nb", "a\r", "a b", " a", "a\t", "a\u{85}b", "a\u{2028}b", "a\0", &"x".repeat(MAX_KEY + 1)]
        {
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
