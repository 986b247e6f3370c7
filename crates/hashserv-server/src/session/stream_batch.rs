//! Lines of a stream mode that are answered together.

use hashserv_protocol::stream;
use hashserv_protocol::{Framing, LineTooLong, MAX_LINE};

use crate::refusal::Refused;

/// Number of lines that are answered together at most.
const MAX_BATCH_LINES: usize = 1024;

/// Lines that are answered together.
pub(super) struct Batch<'a> {
    pub(super) lines: Vec<&'a str>,
    /// Size of the lines with their ends, including the line that ends the batch, in bytes.
    pub(super) bytes: usize,
    pub(super) stop: Stop,
}

/// Reason why a batch has no further lines.
pub(super) enum Stop {
    /// There are none, or it is full.
    Later,
    /// The client ends the mode.
    End,
    /// A line cannot be understood.
    Refused(Refused),
}

impl<'a> Batch<'a> {
    /// Takes lines from a block of whole lines, as far as they can be answered together.
    pub(super) fn read(block: &'a [u8], framing: Framing) -> Self {
        let mut batch = Batch {
            lines: Vec::with_capacity(MAX_BATCH_LINES.min(block.len() / 64 + 1)),
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
            if batch.lines.len() >= MAX_BATCH_LINES || !matches!(batch.stop, Stop::Later) {
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

#[cfg(test)]
mod tests {
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
        let block = b"a b\n".repeat(MAX_BATCH_LINES + 1);
        let batch = Batch::read(&block, Framing::Lines);
        assert_eq!((batch.lines.len(), batch.bytes), (MAX_BATCH_LINES, 4 * MAX_BATCH_LINES));
        assert!(matches!(batch.stop, Stop::Later));
    }
}
