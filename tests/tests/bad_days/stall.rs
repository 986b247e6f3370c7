//! Notices when the machine itself stands still, so that a wait is not blamed on the server.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// Interval at which the test looks at the clock.
const BEAT: Duration = Duration::from_millis(200);

/// Lateness of a beat that counts.
const TOLERANCE: Duration = Duration::from_millis(500);

/// Stalls of this process, the latest last.
static STALLS: Mutex<Vec<(Instant, Duration)>> = Mutex::new(Vec::new());

/// Begins to watch.
pub(crate) fn watch() -> JoinHandle<()> {
    tokio::spawn(async {
        loop {
            let start = Instant::now();
            tokio::time::sleep(BEAT).await;
            let late = start.elapsed().saturating_sub(BEAT);
            if late > TOLERANCE {
                STALLS.lock().expect("no panic").push((Instant::now(), late));
            }
        }
    })
}

/// Time for which this process stood still within the last `wait`.
pub(crate) fn during(wait: Duration) -> Duration {
    let stalls = STALLS.lock().expect("no panic");
    stalls.iter().rev().take_while(|(end, _)| end.elapsed() <= wait + BEAT).map(|(_, late)| *late).sum()
}
