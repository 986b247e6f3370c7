//! What an upstream far away costs a build.
//!
//! ```text
//! cargo bench -p hashserv-upstream --bench upstream                  # 200 ms away
//! cargo bench -p hashserv-upstream --bench upstream -- --rtt-ms 20     # quick
//! ```
//!
//! A server with an empty database has an upstream behind a proxy that delays every byte by half of the round
//! trip in each direction (connecting to the proxy costs no time). A client asks as BitBake does when it
//! starts a build of core-image-sato: 5,315 taskhashes in 173 waves, each sent when the one before is answered.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod proxy;
mod servers;
mod waves;

use std::error::Error;
use std::time::{Duration, Instant};

use hashserv_client::Client;

use crate::proxy::{black_hole, delay_proxy};
use crate::servers::{METHOD, Running, client, key, serve_filled, serve_with_upstream};
use crate::waves::{Waves, core_image_sato};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many keys one large batch has.
const BATCH: usize = 5_000;

/// How many keys are asked one at a time, to tell what all would cost.
const SAMPLE: usize = 20;

/// How long the server waits for its upstream, as by default.
const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let rtt = round_trip()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(rtt))
}

fn round_trip() -> Result<Duration> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(Duration::from_millis(200)),
        ["--rtt-ms", text] => Ok(Duration::from_millis(text.parse()?)),
        _ => {
            Err("usage: cargo bench -p hashserv-upstream --bench upstream [-- --rtt-ms MILLISECONDS]".into())
        }
    }
}

async fn measure(rtt: Duration) -> Result<()> {
    let waves = core_image_sato();
    println!("{waves}");
    println!("round trip to the upstream: {} ms", rtt.as_millis());
    println!();
    println!("| measured | elapsed | round trips | goal | |");
    println!("| --- | --- | --- | --- | --- |");
    let upstream = serve_filled(waves.total() + 2 * BATCH).await?;
    one_at_a_time(&upstream, &waves, rtt).await?;
    build(&upstream, &waves, rtt).await?;
    large_batches(&upstream, waves.total(), rtt).await?;
    upstream.stop().await;
    without_answer(&waves, rtt).await
}

/// What BitBake's server does, from a sample.
async fn one_at_a_time(upstream: &Running, waves: &Waves, rtt: Duration) -> Result<()> {
    let proxy = delay_proxy(upstream.address(), rtt / 2).await?;
    let mut client = client(&proxy).await?;
    ask(&mut client, 0, 1).await?;
    let started = Instant::now();
    for number in 0..SAMPLE {
        ask(&mut client, number, 1).await?;
    }
    let all = started.elapsed() * u32::try_from(waves.total())? / u32::try_from(SAMPLE)?;
    row("one key at a time (from a sample)", all, rtt, "-", None);
    Ok(())
}

async fn build(upstream: &Running, waves: &Waves, rtt: Duration) -> Result<()> {
    let proxy = delay_proxy(upstream.address(), rtt / 2).await?;
    let server = serve_with_upstream(&proxy, TIMEOUT).await?;
    let mut client = client(server.address()).await?;
    let first = ask_waves(&mut client, waves, true).await?;
    let goal = 1.1 * waves.sizes().len() as f64;
    row(
        "173 waves, unknown here",
        first,
        rtt,
        &format!("{goal:.0} round trips"),
        Some(trips(first, rtt) <= goal),
    );
    client.backfill_wait().await?;
    let second = ask_waves(&mut client, waves, true).await?;
    row("the same waves again, known here", second, rtt, "1 s", Some(second <= Duration::from_secs(1)));
    drop(client);
    server.stop().await;
    Ok(())
}

async fn large_batches(upstream: &Running, from: usize, rtt: Duration) -> Result<()> {
    let proxy = delay_proxy(upstream.address(), rtt / 2).await?;
    let server = serve_with_upstream(&proxy, TIMEOUT).await?;
    let mut client = client(server.address()).await?;
    for (name, from) in [("one batch of 5,000, first to connect", from), ("one batch of 5,000", from + BATCH)]
    {
        let started = Instant::now();
        expect_known(&ask(&mut client, from, BATCH).await?)?;
        let elapsed = started.elapsed();
        row(name, elapsed, rtt, "3 round trips", Some(trips(elapsed, rtt) <= 3.0));
    }
    drop(client);
    server.stop().await;
    Ok(())
}

async fn without_answer(waves: &Waves, rtt: Duration) -> Result<()> {
    let server = serve_with_upstream(&black_hole().await?, TIMEOUT).await?;
    let mut client = client(server.address()).await?;
    let elapsed = ask_waves(&mut client, waves, false).await?;
    let goal = TIMEOUT + Duration::from_secs(5);
    row("173 waves, upstream never answers", elapsed, rtt, "10 s", Some(elapsed <= goal));
    drop(client);
    server.stop().await;
    Ok(())
}

/// Asks wave after wave, and tells how long that took.
async fn ask_waves(client: &mut Client, waves: &Waves, known: bool) -> Result<Duration> {
    let started = Instant::now();
    let mut from = 0;
    for size in waves.sizes() {
        let found = ask(client, from, *size).await?;
        if known {
            expect_known(&found)?;
        }
        from += size;
    }
    Ok(started.elapsed())
}

/// Asks keys of these numbers in one batch.
async fn ask(client: &mut Client, from: usize, count: usize) -> Result<Vec<Option<String>>> {
    let tasks: Vec<(&str, String)> = (from..from + count).map(|number| (METHOD, key(number))).collect();
    Ok(client.get_stream().await?.unihashes(&tasks).await?)
}

fn expect_known(found: &[Option<String>]) -> Result<()> {
    let missing = found.iter().filter(|unihash| unihash.is_none()).count();
    if missing == 0 {
        Ok(())
    } else {
        Err(format!("{missing} of {} keys were not found", found.len()).into())
    }
}

fn trips(elapsed: Duration, rtt: Duration) -> f64 {
    elapsed.as_secs_f64() / rtt.as_secs_f64()
}

fn row(name: &str, elapsed: Duration, rtt: Duration, goal: &str, reached: Option<bool>) {
    let verdict = match reached {
        None => "",
        Some(true) => "reached",
        Some(false) => "MISSED",
    };
    let seconds = elapsed.as_secs_f64();
    println!("| {name} | {seconds:.2} s | {:.1} | {goal} | {verdict} |", trips(elapsed, rtt));
}
