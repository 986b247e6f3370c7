//! Lines from standard input.

use hashserv_client::stream::{Query, StreamMode, check_query};
use hashserv_protocol::{LineBuffer, MAX_LINE};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::failure::Failure;

/// Lines of some input, of at most 64 KiB each, in batches of what is there.
pub(crate) struct Input<R> {
    source: R,
    lines: LineBuffer,
    /// How many lines were taken.
    taken: u64,
    ended: bool,
    /// What is wrong with the line after those that were taken.
    failed: Option<Failure>,
}

/// A line and its number, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) text: String,
}

impl Line {
    /// A failure that names the line.
    pub(crate) fn malformed(&self, reason: impl Into<String>) -> Failure {
        Failure::InputLine { number: self.number, reason: reason.into() }
    }

    /// The query that the line holds, unless it cannot be sent.
    pub(crate) fn sendable<M: StreamMode, Q: Query<M>>(&self, query: Q) -> Result<Q, Failure> {
        match check_query(&query) {
            Ok(()) => Ok(query),
            Err(error) => Err(self.malformed(error.to_string())),
        }
    }
}

impl<R: AsyncRead + Unpin> Input<R> {
    pub(crate) fn new(source: R) -> Self {
        Input { source, lines: LineBuffer::new(MAX_LINE), taken: 0, ended: false, failed: None }
    }

    /// Waits for a line and returns it with the others that are there already, at most about 128 KiB of
    /// them; none when the input has ended. Lines before one that cannot be read are returned first.
    pub(crate) async fn batch(&mut self) -> Result<Vec<Line>, Failure> {
        loop {
            if let Some(failure) = self.failed.take() {
                return Err(failure);
            }
            let batch = self.take_complete();
            if !batch.is_empty() || (self.ended && self.failed.is_none()) {
                return Ok(batch);
            }
            if self.failed.is_none() {
                self.read().await?;
            }
        }
    }

    fn take_complete(&mut self) -> Vec<Line> {
        let mut batch = Vec::new();
        while self.failed.is_none() {
            let number = self.taken + 1;
            let unreadable = |reason| Some(Failure::InputLine { number, reason });
            match self.lines.next_line().map(|line| line.map(std::str::from_utf8)) {
                Ok(None) => break,
                Ok(Some(Ok(text))) => {
                    batch.push(Line { number, text: text.to_owned() });
                    self.taken = number;
                }
                Ok(Some(Err(error))) => self.failed = unreadable(error.to_string()),
                Err(error) => self.failed = unreadable(error.to_string()),
            }
        }
        batch
    }

    async fn read(&mut self) -> Result<(), Failure> {
        if self.source.read_buf(self.lines.room()).await.map_err(Failure::Input)? == 0 {
            self.ended = true;
            if !self.lines.is_empty() {
                self.lines.extend(b"\n");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn batches(bytes: &[u8]) -> (Vec<String>, Option<String>) {
        let mut input = Input::new(bytes);
        let mut lines = Vec::new();
        loop {
            match input.batch().await {
                Ok(batch) if batch.is_empty() => return (lines, None),
                Ok(batch) => {
                    for line in batch {
                        lines.push(format!("{} {}", line.number, line.text));
                    }
                }
                Err(failure) => return (lines, Some(failure.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn the_last_line_needs_no_end() {
        assert_eq!(batches(b"a\r\n\nb").await, (vec!["1 a".into(), "2 ".into(), "3 b".into()], None));
        assert_eq!(batches(b"").await, (vec![], None));
    }

    #[tokio::test]
    async fn lines_before_a_bad_one_are_returned_first() {
        let (lines, error) = batches(b"a\nb\n\xff\nc\n").await;
        assert_eq!(lines, ["1 a", "2 b"]);
        assert!(error.unwrap().starts_with("line 3 of standard input: invalid utf-8"));
        let long = [b"a\n".as_slice(), &vec![b'x'; 100_000]].concat();
        let (lines, error) = batches(&long).await;
        assert_eq!(lines, ["1 a"]);
        assert_eq!(error.unwrap(), "line 2 of standard input: a line is longer than 65536 bytes");
    }
}
