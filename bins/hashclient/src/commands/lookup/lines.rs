//! Look-ups of the lines of standard input.

use std::collections::VecDeque;
use std::time::Duration;

use hashserv_client::pipeline::{QuerySender, ReplyReceiver, Retry};
use hashserv_client::stream::Get as GetMode;
use hashserv_client::{Client, ClientError};
use indicatif::ProgressBar;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::input::{Input, Line};
use crate::output::Output;
use crate::progress;

/// Most batches of input lines, each of about 128 KiB at most, that may wait for their replies.
const MAX_PENDING: usize = 16;

/// Longest silence of the server while replies are awaited.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

type Task = (String, String);

/// Look-ups of all lines of an input, whose answers are printed in order, as they arrive.
pub(super) struct LookUps<'a, R> {
    questions: Questions<R>,
    answers: Answers<'a>,
}

/// Questions to ask.
struct Questions<R> {
    input: Input<R>,
    /// Tells the other side what is going to be asked.
    pending: mpsc::Sender<Vec<Task>>,
    /// The end of the input, and what was wrong with it.
    ended: Option<Result<(), Failure>>,
}

/// What is to be printed.
struct Answers<'a> {
    awaited: mpsc::Receiver<Vec<Task>>,
    /// Tasks that were asked and not answered.
    unanswered: VecDeque<Task>,
    output: &'a mut Output,
    counter: ProgressBar,
}

impl<'a, R: AsyncRead + Unpin> LookUps<'a, R> {
    pub(super) fn new(source: R, output: &'a mut Output) -> Self {
        let (pending, awaited) = mpsc::channel(MAX_PENDING);
        let questions = Questions { input: Input::new(source), pending, ended: None };
        let counter = progress::counter("looked up");
        LookUps { questions, answers: Answers { awaited, unanswered: VecDeque::new(), output, counter } }
    }

    /// Asks until all is answered. Where the connection is lost, what was not answered is asked again.
    pub(super) async fn run(mut self, client: &mut Client, retry_window: Duration) -> Result<(), Failure> {
        let mut retry = Retry::new(retry_window);
        loop {
            let answered = self.answers.counter.position();
            let lost = match self.run_once(client).await {
                Err(Failure::Client(error)) if error.is_lost() => error,
                result => {
                    self.answers.counter.finish_and_clear();
                    return result;
                }
            };
            if self.answers.counter.position() > answered {
                retry = Retry::new(retry_window);
            }
            if !retry.again(&lost).await {
                return Err(lost.into());
            }
        }
    }

    /// Asks over one connection, which is closed in the end.
    async fn run_once(&mut self, client: &mut Client) -> Result<(), Failure> {
        let (mut sender, mut receiver) = client.pipeline().await?;
        let again = self.answers.begin_again();
        let result = {
            let asking = self.questions.ask(&again, &mut sender);
            let printing = self.answers.print(&mut receiver);
            tokio::pin!(asking, printing);
            tokio::select! {
                // It ends before the asking does only if it fails.
                printed = &mut printing => printed,
                asked = &mut asking => match asked {
                    Ok(()) => printing.await,
                    // A refusal that explains the failure may have arrived already.
                    Err(failure) => printing.await.and(Err(failure)),
                },
            }
        };
        sender.close_with(receiver).await;
        match (result, self.questions.ended.take()) {
            (Ok(()), Some(ended)) => ended,
            (result, ended) => {
                self.questions.ended = ended;
                result
            }
        }
    }
}

impl<R: AsyncRead + Unpin> Questions<R> {
    /// Asks, and tells the other side in the end that there will be no more.
    async fn ask(&mut self, again: &[Task], sender: &mut QuerySender<GetMode>) -> Result<(), Failure> {
        let result = self.ask_all(again, sender).await;
        if let Ok(room) = self.pending.reserve().await {
            // An empty batch stands for the end.
            room.send(Vec::new());
        }
        result
    }

    /// Asks what an earlier connection left unanswered, then a query for every line until the input ends or a line
    /// makes no sense.
    async fn ask_all(&mut self, again: &[Task], sender: &mut QuerySender<GetMode>) -> Result<(), Failure> {
        sender.send(again).await?;
        while self.ended.is_none() {
            // Room first, so that nothing that was read is lost if this is cancelled.
            let Ok(room) = self.pending.reserve().await else { break };
            let lines = match self.input.batch().await {
                Ok(lines) if !lines.is_empty() => lines,
                Ok(_) => {
                    self.ended = Some(Ok(()));
                    break;
                }
                Err(failure) => {
                    self.ended = Some(Err(failure));
                    break;
                }
            };
            let (tasks, malformed) = parse(&lines);
            self.ended = malformed.map(Err);
            // Announced before they are sent, so that replies are read while a long batch is written.
            room.send(tasks.clone());
            sender.send(&tasks).await?;
        }
        Ok(())
    }
}

impl Answers<'_> {
    /// Returns what is to be asked once more over a new connection.
    fn begin_again(&mut self) -> Vec<Task> {
        while let Ok(tasks) = self.awaited.try_recv() {
            self.unanswered.extend(tasks);
        }
        self.unanswered.iter().cloned().collect()
    }

    async fn print(&mut self, receiver: &mut ReplyReceiver<GetMode>) -> Result<(), Failure> {
        loop {
            self.print_answers(receiver).await?;
            match self.awaited.recv().await {
                Some(tasks) if !tasks.is_empty() => self.unanswered.extend(tasks),
                _ => return Ok(()),
            }
        }
    }

    /// Prints the answers to all that was asked so far.
    async fn print_answers(&mut self, receiver: &mut ReplyReceiver<GetMode>) -> Result<(), Failure> {
        while !self.unanswered.is_empty() {
            let mut replies = Vec::with_capacity(self.unanswered.len());
            let received = receiver.receive(&mut replies, self.unanswered.len());
            let timeout = ClientError::Timeout { after: REPLY_TIMEOUT };
            let received = tokio::time::timeout(REPLY_TIMEOUT, received).await.unwrap_or(Err(timeout));
            self.counter.inc(replies.len() as u64);
            for ((method, taskhash), unihash) in self.unanswered.drain(..replies.len()).zip(replies.iter()) {
                let unihash = unihash.as_deref().unwrap_or("-");
                self.output.line(format_args!("{method} {taskhash} {unihash}"))?;
            }
            self.output.flush()?;
            received?;
        }
        Ok(())
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
        run_with(&[SERVER; 4], input).await
    }

    async fn run_with(servers: &[Answer], input: &str) -> (String, Result<(), Failure>) {
        let printed = Printed::default();
        let mut output = Output::to(printed.clone());
        let look_ups = LookUps::new(input.as_bytes(), &mut output);
        let result = look_ups.run(&mut client(servers), Duration::ZERO).await;
        (printed.text(), result)
    }

    #[tokio::test]
    async fn what_a_lost_connection_left_unanswered_is_asked_again() {
        const HANGS_UP: Answer = |line| if line == "m c" { None } else { SERVER(line) };
        let input = "m a\nm b\nm c\nm d\nm e\n";
        let (printed, result) = run_with(&[HANGS_UP, HANGS_UP, SERVER], input).await;
        result.unwrap();
        assert_eq!(printed, "m a ua\nm b ub\nm c uc\nm d ud\nm e ue\n");
        let many: String = (0..20_000).map(|number| format!("m {number}\n")).collect();
        const LOSES_SOME: Answer = |line| if line == "m 9999" { None } else { SERVER(line) };
        let (printed, result) = run_with(&[LOSES_SOME, SERVER], &many).await;
        result.unwrap();
        assert!(printed.lines().enumerate().all(|(at, line)| line == format!("m {at} u{at}")));
        assert_eq!(printed.lines().count(), 20_000);
    }

    #[tokio::test]
    async fn malformed_line_is_told_although_the_connection_was_lost() {
        const HANGS_UP: Answer = |line| if line.starts_with("m ") { None } else { SERVER(line) };
        let (printed, result) = run_with(&[HANGS_UP, SERVER], "m a\nm\n").await;
        assert_eq!(printed, "m a ua\n");
        assert_eq!(result.unwrap_err().to_string(), "line 2 of standard input: METHOD TASKHASH expected");
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
            (format!("m {}", "x".repeat(1025)), "longer than 1024 bytes"),
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
        let mut client = client(&[SERVER]);
        let look_ups = LookUps::new(input, &mut output);
        let typing = async {
            tokio::io::AsyncWriteExt::write_all(&mut keyboard, b"m a\n").await.unwrap();
            while printed.text() != "m a ua\n" {
                tokio::task::yield_now().await;
            }
            drop(keyboard);
        };
        let (result, ()) = tokio::join!(look_ups.run(&mut client, Duration::ZERO), typing);
        result.unwrap();
    }
}
