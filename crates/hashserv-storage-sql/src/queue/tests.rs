//! Batches, faults and deadlines of the queue.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use hashserv_storage::Conditions;
use tokio::sync::watch;

use super::*;

const BAD_MARK: &str = "bad";
/// Numbers from here on make a call heavy.
const HEAVY: u8 = 100;
/// Those from here on take more than half of the room of the lane.
const HUGE: u8 = 200;

/// Tells what was to be done in one transaction; those with a zero fail.
#[derive(Debug, Default)]
struct Script {
    transactions: Arc<Mutex<Vec<Vec<u8>>>>,
    deadlines: Arc<Mutex<Vec<Instant>>>,
    fails_for_all: bool,
}

#[derive(Debug)]
struct Numbers(Kind, Vec<u8>);

#[derive(Debug)]
struct Failed {
    concerns_all: bool,
}

impl Recordable for Numbers {
    fn kind(&self) -> Kind {
        self.0
    }

    fn count(&self) -> usize {
        self.1.len()
    }

    fn bytes(&self) -> usize {
        let bytes = self.1.iter().map(|number| match *number {
            ..HEAVY => 1,
            HEAVY..HUGE => HEAVY_BYTES + 1,
            HUGE.. => HEAVY_LANE_BYTES as usize / 2 + 1,
        });
        bytes.sum()
    }
}

impl SharedFailure for Failed {
    fn storage_error(&self) -> StorageError {
        StorageError::Timeout("as the test wants it".to_owned())
    }

    fn concerns_all(&self) -> bool {
        self.concerns_all
    }
}

impl Transactions for Script {
    type Records = Numbers;
    type Statements = u8;
    type Failure = Failed;

    async fn record(&mut self, records: &[&Numbers], until: Instant) -> Result<Vec<Unihash>, Failed> {
        self.deadlines.lock().unwrap().push(until);
        let numbers: Vec<u8> = records.iter().flat_map(|records| records.1.iter().copied()).collect();
        self.transactions.lock().unwrap().push(numbers.clone());
        // Callers go on meanwhile, in whatever order all are polled.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        if numbers.contains(&0) {
            return Err(Failed { concerns_all: self.fails_for_all });
        }
        Ok(numbers.into_iter().map(|number| Unihash::from([number; 32])).collect())
    }

    async fn mark(&mut self, requests: &[&MarkRequest], _: Instant) -> Result<Vec<u64>, Failed> {
        self.transactions.lock().unwrap().push(Vec::new());
        if requests.iter().any(|request| request.mark == BAD_MARK) {
            return Err(Failed { concerns_all: false });
        }
        Ok(vec![1; requests.len()])
    }

    async fn run(&mut self, statements: u8, _: Instant) -> Result<Vec<i64>, Failed> {
        self.transactions.lock().unwrap().push(vec![statements]);
        Ok(vec![i64::from(statements)])
    }
}

/// Lets all these wait in the queue before it is served; gives what each caller hears, and the transactions.
async fn serve_waiting(script: Script, calls: &[(Kind, &[u8])]) -> (Vec<Option<Vec<u8>>>, Vec<Vec<u8>>) {
    let transactions = Arc::clone(&script.transactions);
    let (queue, jobs) = queue::<Script>();
    let asking = calls.iter().map(|(kind, numbers)| queue.record(Numbers(*kind, numbers.to_vec())));
    let asking = futures_util::future::join_all(asking);
    let closing = watch::Sender::new(false);
    let serving = serve(script, jobs, Closing::of(&closing));
    let close = async {
        let answers = asking.await;
        closing.send_replace(true);
        answers
    };
    let (answers, _) = tokio::join!(close, serving);
    let first_bytes = |unihashes: Vec<Unihash>| {
        unihashes.iter().map(|unihash| unihash.digest().map_or(0, |digest| digest[0])).collect()
    };
    let heard = answers.into_iter().map(|answer| answer.ok().map(first_bytes)).collect();
    let transactions = transactions.lock().unwrap().clone();
    (heard, transactions)
}

#[tokio::test]
async fn what_waits_becomes_one_transaction_of_which_each_hears_its_part() {
    let calls: [(Kind, &[u8]); 3] = [(Kind::Reports, &[1, 2]), (Kind::Reports, &[]), (Kind::Reports, &[3])];
    let (heard, transactions) = serve_waiting(Script::default(), &calls).await;
    assert_eq!(heard, [Some(vec![1, 2]), Some(vec![]), Some(vec![3])]);
    assert_eq!(transactions, [[1, 2, 3]]);
}

#[tokio::test]
async fn another_kind_is_another_transaction_and_the_order_stays() {
    let calls: [(Kind, &[u8]); 3] = [(Kind::Reports, &[1]), (Kind::Unihashes, &[2]), (Kind::Reports, &[3])];
    let (heard, transactions) = serve_waiting(Script::default(), &calls).await;
    assert_eq!(heard, [Some(vec![1]), Some(vec![2]), Some(vec![3])]);
    assert_eq!(transactions, [[1], [2], [3]]);
}

#[tokio::test]
async fn only_the_caller_at_fault_hears_the_error() {
    let calls: [(Kind, &[u8]); 4] =
        [(Kind::Reports, &[1]), (Kind::Reports, &[0]), (Kind::Reports, &[3]), (Kind::Reports, &[4])];
    let (heard, transactions) = serve_waiting(Script::default(), &calls).await;
    assert_eq!(heard, [Some(vec![1]), None, Some(vec![3]), Some(vec![4])]);
    assert_eq!(transactions, [vec![1, 0, 3, 4], vec![1, 0], vec![1], vec![0], vec![3, 4]]);
}

#[tokio::test]
async fn only_the_caller_of_a_bad_mark_hears_the_error() {
    let (queue, jobs) = queue::<Script>();
    let script = Script::default();
    let transactions = Arc::clone(&script.transactions);
    let marking = ["a", BAD_MARK, "c"].map(|mark| {
        let request = MarkRequest { mark: mark.to_owned(), conditions: Conditions::default() };
        queue.mark(vec![request])
    });
    let serving = serve(script, jobs, Closing::of(&watch::Sender::new(true)));
    let (heard, _) = tokio::join!(futures_util::future::join_all(marking), serving);
    assert_eq!(heard.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(transactions.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn heavy_call_is_a_transaction_of_its_own() {
    let calls: [(Kind, &[u8]); 3] = [(Kind::Reports, &[1]), (Kind::Reports, &[HUGE]), (Kind::Reports, &[3])];
    let (_, transactions) = serve_waiting(Script::default(), &calls).await;
    assert_eq!(transactions, [vec![HUGE], vec![1, 3]]);
}

#[tokio::test]
async fn light_calls_do_not_wait_for_all_heavy_ones() {
    const HEAVIES: u8 = 3;
    let script = Script::default();
    let transactions = Arc::clone(&script.transactions);
    let (queue, jobs) = queue::<Script>();
    let queue = &queue;
    let heavy = async |number| queue.record(Numbers(Kind::Reports, vec![number; 16])).await.unwrap();
    let heavy = (HEAVY..HEAVY + HEAVIES).map(heavy);
    // One call after the other, without end before the heavy ones have theirs.
    let light = async |first| {
        for number in first..first + 2 * HEAVIES {
            queue.record(Numbers(Kind::Reports, vec![number])).await.unwrap();
        }
    };
    let closing = watch::Sender::new(false);
    let calls = async {
        tokio::join!(futures_util::future::join_all(heavy), light(1), light(11));
        closing.send_replace(true);
    };
    tokio::join!(calls, serve(script, jobs, Closing::of(&closing)));
    let turns = transactions.lock().unwrap().clone();
    let is_heavy: Vec<bool> = turns.iter().map(|numbers| numbers[0] >= HEAVY).collect();
    assert_eq!(is_heavy[..6], [true, false, true, false, true, false], "{turns:?}");
    assert_eq!(turns[1], [1, 11]);
}

#[tokio::test]
async fn heavy_calls_wait_for_room() {
    let (queue, mut jobs) = queue::<Script>();
    let heavy = || queue.record(Numbers(Kind::Reports, vec![HUGE; 3]));
    let mut calls = futures_util::future::join_all([heavy(), heavy(), heavy()]);
    for _ in 0..3 {
        assert!((&mut calls).now_or_never().is_none());
        assert_eq!(jobs.heavy_waiting(), 1);
        let batch = jobs.next_batch(TRANSACTION_BYTES).await.unwrap();
        run_all(&mut Script::default(), batch).await;
    }
    assert!(calls.await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn what_fails_for_all_is_not_tried_for_each() {
    let script = Script { fails_for_all: true, ..Script::default() };
    let calls: [(Kind, &[u8]); 2] = [(Kind::Reports, &[1]), (Kind::Reports, &[0])];
    let (heard, transactions) = serve_waiting(script, &calls).await;
    assert_eq!(heard, [None, None]);
    assert_eq!(transactions, [[1, 0]]);
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_has_less_time_left() {
    let script = Script::default();
    let deadlines = Arc::clone(&script.deadlines);
    let (queue, jobs) = queue::<Script>();
    let begin = Instant::now();
    let asking = futures_util::future::join_all((1..3).map(|number| {
        let queue = queue.clone();
        async move { queue.record(Numbers(Kind::Reports, vec![number])).await.unwrap() }
    }));
    let serving = async {
        tokio::time::advance(WRITE_START_DEADLINE / 2).await;
        serve(script, jobs, Closing::of(&watch::Sender::new(true))).await
    };
    tokio::join!(asking, serving);
    assert_eq!(*deadlines.lock().unwrap(), [begin + WRITE_START_DEADLINE]);
}

/// Serves `queue` with transactions that never end.
#[derive(Debug)]
struct Stuck;

impl Transactions for Stuck {
    type Records = Numbers;
    type Statements = u8;
    type Failure = Failed;

    async fn record(&mut self, _: &[&Numbers], _: Instant) -> Result<Vec<Unihash>, Failed> {
        std::future::pending().await
    }

    async fn mark(&mut self, _: &[&MarkRequest], _: Instant) -> Result<Vec<u64>, Failed> {
        std::future::pending().await
    }

    async fn run(&mut self, _: u8, _: Instant) -> Result<Vec<i64>, Failed> {
        std::future::pending().await
    }
}

/// Also those for which there is no place in the queue.
#[tokio::test(start_paused = true)]
async fn every_call_is_answered_in_time_by_a_database_that_hangs() {
    let (queue, jobs) = queue::<Stuck>();
    let closing = watch::Sender::new(false);
    let serving = tokio::spawn(serve(Stuck, jobs, Closing::of(&closing)));
    let begin = Instant::now();
    let recording = (0..2 * QUEUE).map(|_| queue.record(Numbers(Kind::Reports, vec![1])));
    let heard = futures_util::future::join_all(recording).await;
    assert!(heard.iter().all(|answer| matches!(answer, Err(StorageError::Timeout(_)))));
    assert!(begin.elapsed() < Duration::from_secs(25));
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn call_whose_turn_comes_too_late_is_not_run() {
    let script = Script::default();
    let transactions = Arc::clone(&script.transactions);
    let (queue, jobs) = queue::<Script>();
    let recording = queue.record(Numbers(Kind::Reports, vec![1]));
    let serving = async {
        tokio::time::advance(WRITE_START_DEADLINE).await;
        serve(script, jobs, Closing::of(&watch::Sender::new(true))).await
    };
    let (heard, _) = tokio::join!(recording, serving);
    assert!(matches!(heard, Err(StorageError::Timeout(_))), "{heard:?}");
    assert!(transactions.lock().unwrap().is_empty());
}
