//! Received bytes, taken out as lines.

use memchr::{memchr, memrchr};

/// How much room a read is offered at least.
const READ_SIZE: usize = 4 * 1024;

/// How much room a buffer that is in use is given, so that one read takes a whole batch of lines.
const BUSY_SIZE: usize = 64 * 1024;

/// Bytes that have arrived, and the lines that are complete among them.
///
/// The buffer holds no memory while it is empty and [released](LineBuffer::release), so that thousands of
/// idle connections cost little. Lines are borrowed from it, so that a batch of look-ups is read without a
/// copy: look at [`complete`](LineBuffer::complete), then [`consume`](LineBuffer::consume) what was used.
///
/// ```
/// use hashserv_protocol::LineBuffer;
///
/// let mut buffer = LineBuffer::new(100);
/// buffer.extend(b"one\r\ntwo\nthr");
/// assert_eq!(buffer.next_line(), Ok(Some(&b"one"[..])));
/// assert_eq!(buffer.next_line(), Ok(Some(&b"two"[..])));
/// assert_eq!(buffer.next_line(), Ok(None));
/// buffer.extend(b"ee\n");
/// assert_eq!(buffer.next_line(), Ok(Some(&b"three"[..])));
/// ```
#[derive(Debug)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// What lies before was consumed.
    start: usize,
    /// What lies between `start` and here is known to hold no line end.
    scanned: usize,
    max_line: usize,
}

/// A line is longer than the buffer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {max} bytes")]
pub struct LineTooLong {
    /// The longest line that is taken, in bytes, without its end.
    pub max: usize,
}

impl LineBuffer {
    /// An empty buffer that takes lines of at most `max_line` bytes, line end not counted.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        LineBuffer { bytes: Vec::new(), start: 0, scanned: 0, max_line }
    }

    /// The longest line that is taken, in bytes.
    #[must_use]
    pub fn max_line(&self) -> usize {
        self.max_line
    }

    /// The bytes that were received and not consumed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether all that was received is consumed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the last byte that was received ends a line.
    #[must_use]
    pub fn is_at_line_end(&self) -> bool {
        self.bytes.last() == Some(&b'\n')
    }

    /// The next line, without its end and without the white space before it; `None` while it is incomplete.
    ///
    /// # Errors
    ///
    /// [`LineTooLong`], at the latest when the bytes that are buffered exceed the bound.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        self.next_raw_line().map(|line| line.map(<[u8]>::trim_ascii_end))
    }

    /// The next line, without its end (`\n` or `\r\n`) but with the white space before it.
    ///
    /// # Errors
    ///
    /// As [`next_line`](LineBuffer::next_line).
    pub fn next_raw_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        let Some(length) =
            memchr(b'\n', &self.bytes[self.scanned..]).map(|at| self.scanned + at - self.start)
        else {
            self.scanned = self.bytes.len();
            return if self.len() > self.max_line { Err(self.too_long()) } else { Ok(None) };
        };
        if length > self.max_line {
            return Err(self.too_long());
        }
        let line = self.start..self.start + length;
        self.consume(length + 1);
        let line = &self.bytes[line];
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// All complete lines that are buffered, with their ends; empty where there is none.
    ///
    /// # Errors
    ///
    /// [`LineTooLong`] where there is no complete line and what is buffered exceeds the bound. Lines within
    /// a block of several can be no longer than what one read brings in, so they are not measured.
    pub fn complete(&mut self) -> Result<&[u8], LineTooLong> {
        match memrchr(b'\n', &self.bytes[self.scanned..]) {
            Some(at) => Ok(&self.bytes[self.start..=self.scanned + at]),
            None if self.len() > self.max_line => Err(self.too_long()),
            None => {
                self.scanned = self.bytes.len();
                Ok(&[])
            }
        }
    }

    /// Forgets the first `count` bytes of what is buffered; they must be whole lines with their ends.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        self.scanned = self.start;
        debug_assert!(self.start <= self.bytes.len(), "no more can be consumed than was received");
    }

    /// What is buffered, with spare capacity behind it for a read to append to.
    ///
    /// The first read after the memory was released is offered little, later ones a whole batch of lines.
    pub fn room(&mut self) -> &mut Vec<u8> {
        self.compact();
        let wanted = if self.bytes.capacity() == 0 { READ_SIZE } else { BUSY_SIZE };
        if self.bytes.capacity() - self.bytes.len() < READ_SIZE {
            self.bytes.reserve(wanted);
        }
        &mut self.bytes
    }

    /// Adds bytes that were received elsewhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds a message as one line. Line ends within it become blanks, which means the same in JSON and
    /// between the words of a query.
    pub fn push_message(&mut self, message: &[u8]) {
        self.compact();
        let from = self.bytes.len();
        self.bytes.reserve(message.len() + 1);
        self.bytes.extend_from_slice(message);
        let mut at = from;
        while let Some(found) = memchr(b'\n', &self.bytes[at..]) {
            self.bytes[at + found] = b' ';
            at += found + 1;
        }
        self.bytes.push(b'\n');
    }

    /// Gives the memory back if nothing is buffered.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.start = 0;
            self.scanned = 0;
        }
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
    }

    fn too_long(&self) -> LineTooLong {
        LineTooLong { max: self.max_line }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_may_have_its_bound_and_no_byte_more() {
        let mut buffer = LineBuffer::new(5);
        buffer.extend(b"12345\n");
        assert_eq!(buffer.next_line(), Ok(Some(&b"12345"[..])));
        buffer.extend(b"123456");
        assert_eq!(buffer.next_line(), Err(LineTooLong { max: 5 }));
        assert_eq!(buffer.complete(), Err(LineTooLong { max: 5 }));
        let mut buffer = LineBuffer::new(5);
        buffer.extend(b"123456\n");
        assert_eq!(buffer.next_line(), Err(LineTooLong { max: 5 }));
    }

    #[test]
    fn trailing_white_space_is_stripped_but_for_raw_lines() {
        let mut buffer = LineBuffer::new(100);
        buffer.extend(b" a \t\r\n b \r\n");
        assert_eq!(buffer.next_line(), Ok(Some(&b" a"[..])));
        assert_eq!(buffer.next_raw_line(), Ok(Some(&b" b "[..])));
    }

    #[test]
    fn a_released_buffer_holds_no_memory() {
        let mut buffer = LineBuffer::new(100);
        buffer.extend(b"a\nb");
        assert_eq!(buffer.next_line(), Ok(Some(&b"a"[..])));
        buffer.release();
        assert_eq!(buffer.len(), 1, "what is not consumed stays");
        buffer.extend(b"\n");
        assert_eq!(buffer.next_line(), Ok(Some(&b"b"[..])));
        buffer.release();
        assert_eq!(buffer.bytes.capacity(), 0);
    }

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        let mut buffer = LineBuffer::new(100);
        buffer.push_message(b"{\n\"ping\":\n{}}");
        buffer.push_message(b"");
        assert_eq!(buffer.complete(), Ok(&b"{ \"ping\": {}}\n\n"[..]));
    }

    proptest! {
        #[test]
        fn lines_come_out_however_the_bytes_arrive(
            lines in prop::collection::vec("[a-z ]{0,20}", 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut buffer = LineBuffer::new(100);
            let (mut from, mut received) = (0, Vec::new());
            for cut in cuts {
                buffer.extend(&bytes[from..cut]);
                from = cut;
                let complete = buffer.complete().unwrap().split_inclusive(|byte| *byte == b'\n').count();
                let before = received.len();
                while let Some(line) = buffer.next_raw_line().unwrap() {
                    received.push(String::from_utf8(line.to_vec()).unwrap());
                }
                prop_assert_eq!(received.len() - before, complete);
                prop_assert_eq!(buffer.complete().unwrap(), b"");
            }
            prop_assert_eq!(received, lines);
            prop_assert!(buffer.is_empty());
        }
    }
}
