//! The ledger of a day: what was acknowledged, what a server may answer, and what it did answer.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hashserv_tests::{BuildTrouble, Seen, hash, is_hash};
use serde_json::{Value, json};

use crate::{stall, upstream};

/// The method of all reports that are never removed.
pub(crate) const METHOD: &str = "oe.kept";

/// Longest wait of a build: documented are 25 s for a reply or a close, the rest is for a busy machine. BitBake gives
/// up at 30 s.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(29);

/// Number of recent outputs that a new task may share.
const SHARED_OUTPUTS: usize = 40;

/// Examples of a violation that are told.
const EXAMPLES: usize = 3;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    /// No build fails: a valid request is answered, or the connection closed.
    Builds,
    /// A stream has no line that is not a reply, and nothing but hashes is handed out.
    Lines,
    /// Waits keep their limits.
    Waits,
    /// What was acknowledged is there.
    Kept,
    /// Reports of one output share a unihash.
    Equivalence,
    /// A look-up answers what its task can have, not what another has.
    Answers,
    /// After a fault the server serves again.
    Recovery,
    /// A server ends when it is asked to, and in good order.
    Servers,
}

/// A task that is to be reported.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) taskhash: String,
    pub(crate) outhash: String,
    pub(crate) unihash: String,
}

impl Task {
    /// The report, with a description of the output of this length.
    pub(crate) fn report(&self, siginfo: usize) -> Value {
        let mut report = json!({"method": METHOD, "taskhash": self.taskhash, "outhash": self.outhash,
            "unihash": self.unihash});
        if siginfo > 0 {
            report["outhash_siginfo"] = Value::from("d rwx ./usr\n".repeat(siginfo / 12 + 1));
            report["PN"] = Value::from("recipe");
        }
        json!({"report": report})
    }
}

/// What a look-up that is sent now may answer.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// The report of the task was acknowledged with this unihash.
    Exactly(String),
    /// The report may be under way: nothing, or what a task with this output can have.
    OfOutput(String),
    /// The upstream may answer it.
    NothingOr(String),
    Nothing,
}

struct Output {
    sent: HashSet<String>,
    acknowledged: Option<String>,
}

struct Known {
    outhash: String,
    acknowledged: Option<String>,
}

#[derive(Default)]
struct Books {
    tasks: HashMap<String, Known>,
    order: Vec<String>,
    outputs: HashMap<String, Output>,
    recent_outputs: VecDeque<String>,
    users: Vec<String>,
    round: usize,
    violations: BTreeMap<Check, (usize, Vec<String>)>,
    longest_wait: Duration,
}

/// The ledger.
pub(crate) struct Ledger {
    seed: u64,
    next: AtomicUsize,
    /// Calls that a build survives with a warning.
    pub(crate) warnings: AtomicUsize,
    pub(crate) lines: AtomicUsize,
    is_misled: AtomicBool,
    books: Mutex<Books>,
}

impl Ledger {
    pub(crate) fn new(seed: u64) -> Self {
        Ledger {
            seed,
            next: AtomicUsize::default(),
            warnings: AtomicUsize::default(),
            lines: AtomicUsize::default(),
            is_misled: AtomicBool::default(),
            books: Mutex::default(),
        }
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().expect("no panic")
    }

    /// Notes what must not happen.
    pub(crate) fn violation(&self, check: Check, text: &str) {
        let mut books = self.books();
        let round = books.round;
        let (count, examples) = books.violations.entry(check).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(format!("round {round}: {}", text.chars().take(600).collect::<String>()));
        }
    }

    /// Notes that a round begins, which examples of violations name.
    pub(crate) fn round(&self, number: usize) {
        self.books().round = number;
    }

    /// Notes that the upstream answers questions by the answers to others, which no server can tell from the right
    /// ones: what tasks may have that were not acknowledged is not known any more.
    pub(crate) fn misled(&self) {
        self.is_misled.store(true, Ordering::Relaxed);
    }

    /// A number that was not given before.
    pub(crate) fn number(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A taskhash that nobody reports.
    pub(crate) fn unknown_taskhash(&self) -> String {
        upstream::unknown(&hash(&format!("{} stranger {}", self.seed, self.number())))
    }

    /// A new task, which may have the output of another one, or one that the upstream knows.
    pub(crate) fn new_task(&self, rng: &mut fastrand::Rng) -> Task {
        let name = format!("{} {}", self.seed, self.number());
        let mut books = self.books();
        let outhash = match rng.u8(..100) {
            0..30 if !books.recent_outputs.is_empty() => {
                let at = rng.usize(..books.recent_outputs.len());
                books.recent_outputs[at].clone()
            }
            30..36 => upstream::known(&hash(&format!("output {name}"))),
            _ => upstream::unknown(&hash(&format!("output {name}"))),
        };
        books.recent_outputs.push_back(outhash.clone());
        if books.recent_outputs.len() > SHARED_OUTPUTS {
            books.recent_outputs.pop_front();
        }
        self.task_of_output(&mut books, &name, outhash)
    }

    /// A new task whose unihash is to be recorded directly: it has no output, and no other task shares what stands for
    /// that here.
    pub(crate) fn new_entry(&self) -> Task {
        let name = format!("{} {}", self.seed, self.number());
        self.task_of_output(&mut self.books(), &name, format!("none {name}"))
    }

    /// The output of a task and its unihash, where a report of it was acknowledged.
    pub(crate) fn output_of(&self, taskhash: &str) -> Option<(String, String)> {
        let books = self.books();
        let outhash = &books.tasks.get(taskhash)?.outhash;
        let unihash = books.outputs[outhash].acknowledged.clone()?;
        is_hash(outhash).then(|| (outhash.clone(), unihash))
    }

    /// A new task with the output of another one.
    pub(crate) fn twin_of(&self, task: &Task) -> Task {
        let name = format!("{} {}", self.seed, self.number());
        self.task_of_output(&mut self.books(), &name, task.outhash.clone())
    }

    fn task_of_output(&self, books: &mut Books, name: &str, outhash: String) -> Task {
        let taskhash = upstream::unknown(&hash(&format!("task {name}")));
        let task = Task { taskhash, outhash, unihash: hash(&format!("unihash {name}")) };
        let output = books.outputs.entry(task.outhash.clone()).or_insert_with(|| Output {
            sent: upstream::unihash_of(&task.outhash).into_iter().collect(),
            acknowledged: None,
        });
        output.sent.insert(task.unihash.clone());
        books
            .tasks
            .insert(task.taskhash.clone(), Known { outhash: task.outhash.clone(), acknowledged: None });
        books.order.push(task.taskhash.clone());
        task
    }

    /// Taskhashes of some tasks that were reported, or are about to be.
    pub(crate) fn some_tasks(&self, rng: &mut fastrand::Rng, count: usize) -> Vec<String> {
        let books = self.books();
        let pick = |_| books.order.get(rng.usize(..books.order.len().max(1))).cloned();
        (0..count).filter_map(pick).collect()
    }

    /// The tasks that were acknowledged, with their unihashes.
    pub(crate) fn acknowledged(&self) -> Vec<(String, String)> {
        let books = self.books();
        let pair = |(task, known): (&String, &Known)| Some((task.clone(), known.acknowledged.clone()?));
        books.tasks.iter().filter_map(pair).collect()
    }

    /// Whether a task has an output, and so a report.
    pub(crate) fn has_report(&self, taskhash: &str) -> bool {
        self.books().tasks.get(taskhash).is_some_and(|known| is_hash(&known.outhash))
    }

    /// What a look-up of this task may answer that is sent from now on.
    pub(crate) fn expected(&self, taskhash: &str) -> Expected {
        match (self.books().tasks.get(taskhash), upstream::unihash_of(taskhash)) {
            (Some(Known { acknowledged: Some(unihash), .. }), _) => Expected::Exactly(unihash.clone()),
            (Some(known), _) => Expected::OfOutput(known.outhash.clone()),
            (None, Some(unihash)) => Expected::NothingOr(unihash),
            (None, None) => Expected::Nothing,
        }
    }

    /// Compares the answer to a look-up with what was expected when it was sent. No answer is an empty text.
    pub(crate) fn looked_up(&self, taskhash: &str, expected: &Expected, answer: &str) {
        if !answer.is_empty() && !is_hash(answer) {
            return self.violation(Check::Lines, &format!("{taskhash} has the unihash {answer:?}"));
        }
        let (check, is_right) = match expected {
            Expected::Exactly(unihash) => (Check::Kept, answer == unihash),
            Expected::OfOutput(outhash) => {
                (Check::Answers, answer.is_empty() || self.books().outputs[outhash].sent.contains(answer))
            }
            Expected::NothingOr(unihash) => (Check::Answers, answer.is_empty() || answer == unihash),
            Expected::Nothing => (Check::Answers, answer.is_empty()),
        };
        let is_uncertain = check == Check::Answers && self.is_misled.load(Ordering::Relaxed);
        if !is_right && !is_uncertain {
            self.violation(check, &format!("{taskhash}: expected {expected:?}, looked up {answer:?}"));
        }
    }

    /// Compares the answer of an exists-stream with what it must be.
    pub(crate) fn exists(&self, unihash: &str, is_known: bool, answer: &str) {
        if answer != if is_known { "true" } else { "false" } {
            let check = if is_known { Check::Kept } else { Check::Answers };
            self.violation(check, &format!("{unihash} is known: {is_known}, answered {answer:?}"));
        }
    }

    /// Takes down a user who must be there when the day is over.
    pub(crate) fn user_made(&self, name: &str) {
        self.books().users.push(name.to_owned());
    }

    /// The users who must be there.
    pub(crate) fn users(&self) -> Vec<String> {
        self.books().users.clone()
    }

    /// Takes down the reply to a report.
    pub(crate) fn reported(&self, task: &Task, reply: &Value) {
        let unihash = reply["unihash"].as_str().unwrap_or_default().to_owned();
        if !is_hash(&unihash) || reply["taskhash"] != task.taskhash.as_str() {
            return self.violation(Check::Lines, &format!("a report was answered by {reply}"));
        }
        let mut books = self.books();
        let output = books.outputs.get_mut(&task.outhash).expect("an output of the ledger");
        let is_possible = output.sent.contains(&unihash);
        let of_output = output.acknowledged.get_or_insert_with(|| unihash.clone()).clone();
        let known = books.tasks.get_mut(&task.taskhash).expect("a task of the ledger");
        let of_task = known.acknowledged.get_or_insert_with(|| unihash.clone()).clone();
        drop(books);
        let output = &task.outhash;
        if !is_possible && !self.is_misled.load(Ordering::Relaxed) {
            self.violation(Check::Answers, &format!("{task:?} was acknowledged with {unihash}"));
        } else if of_task != unihash {
            self.violation(Check::Kept, &format!("{task:?} had {of_task}, now {unihash}"));
        } else if of_output != unihash {
            let text = format!("output {output} had {of_output}, {} has {unihash}", task.taskhash);
            self.violation(Check::Equivalence, &text);
        }
    }

    /// Takes down what a build's client has seen during a call.
    pub(crate) fn seen(&self, call: &str, seen: Seen) {
        self.lines.fetch_add(seen.stream_lines, Ordering::Relaxed);
        for line in &seen.foreign_lines {
            self.violation(Check::Lines, &format!("{call} had the line {line:?}"));
        }
        let wait = seen.longest_wait.saturating_sub(stall::during(seen.longest_wait));
        if wait >= WAIT_LIMIT {
            self.violation(Check::Waits, &format!("{call} waited {wait:?} for a reply or a close"));
        }
        let mut books = self.books();
        books.longest_wait = books.longest_wait.max(wait);
    }

    /// Takes down how a call of a build failed.
    pub(crate) fn failed(&self, call: &str, trouble: &BuildTrouble) {
        match trouble {
            BuildTrouble::ConnectionFailed(_) => {
                self.warnings.fetch_add(1, Ordering::Relaxed);
            }
            BuildTrouble::Exception(text) => {
                self.violation(Check::Builds, &format!("a build fails by {text}, the reply to {call}"));
            }
        }
    }

    /// All violations, as a text; empty if there are none.
    pub(crate) fn verdict(&self) -> String {
        let books = self.books();
        let tell = |(check, (count, examples)): (&Check, &(usize, Vec<String>))| {
            format!("{check:?}: {count} violations, such as\n    {}\n", examples.join("\n    "))
        };
        books.violations.iter().map(tell).collect()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let books = self.books();
        let acknowledged = books.tasks.values().filter(|known| known.acknowledged.is_some()).count();
        write!(
            formatter,
            "{acknowledged} of {} reports acknowledged, {} lines of streams, {} warnings, longest wait {:.1?}",
            books.tasks.len(),
            self.lines.load(Ordering::Relaxed),
            self.warnings.load(Ordering::Relaxed),
            books.longest_wait
        )
    }
}
