//! Clients as builds have them, whose time is measured.

use std::thread;
use std::time::{Duration, Instant};

use hashserv_protocol::{Address, Hello};
use hashserv_transport::{Connection, DialOptions, Dialer};
use tokio::runtime::{Builder, Runtime};

use crate::{Addresses, Result};

/// Time between two exchanges of a client.
const PAUSE: Duration = Duration::from_millis(5);

/// A taskhash, a unihash and an output hash.
const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Transport {
    Unix,
    Tcp,
    Ws,
}

/// What a client does.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Looks up in a stream, over one connection.
    Stream(Transport),
    /// Looks up by requests, over one connection.
    Get(Transport),
    /// Reports, over a new connection each time.
    Report(Transport),
}

pub(crate) const VICTIMS: [(&str, Kind); 9] = [
    ("stream unix", Kind::Stream(Transport::Unix)),
    ("stream tcp", Kind::Stream(Transport::Tcp)),
    ("stream ws", Kind::Stream(Transport::Ws)),
    ("get unix", Kind::Get(Transport::Unix)),
    ("get tcp", Kind::Get(Transport::Tcp)),
    ("get ws", Kind::Get(Transport::Ws)),
    ("report unix", Kind::Report(Transport::Unix)),
    ("report tcp", Kind::Report(Transport::Tcp)),
    ("report ws", Kind::Report(Transport::Ws)),
];

/// Of each exchange, in ascending order.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// In ms.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let at = self.0.len().saturating_sub(1) * percent / 100;
        self.0.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Reports what is looked up later.
pub(crate) fn prepare(addresses: &Addresses) -> Result<()> {
    let runtime = runtime()?;
    runtime.block_on(report(&addresses.unix))
}

/// Lets one client ask for so long.
pub(crate) fn run(kind: Kind, addresses: &Addresses, time: Duration) -> Result<Latencies> {
    let runtime = runtime()?;
    let (Kind::Stream(transport) | Kind::Get(transport) | Kind::Report(transport)) = kind;
    let address = match transport {
        Transport::Unix => &addresses.unix,
        Transport::Tcp => &addresses.tcp,
        Transport::Ws => &addresses.ws,
    };
    let mut connection = match kind {
        Kind::Stream(_) => Some(runtime.block_on(open(address, "{\"get-stream\": null}\n"))?),
        Kind::Get(_) => Some(runtime.block_on(open(address, "{\"ping\": {}}\n"))?),
        Kind::Report(_) => None,
    };
    let lookup = match kind {
        Kind::Get(_) => format!("{{\"get\": {{\"method\": \"m\", \"taskhash\": \"{HASH}\"}}}}\n"),
        _ => format!("m {HASH}\n"),
    };
    let mut latencies = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let began = Instant::now();
        match &mut connection {
            Some(connection) => runtime.block_on(ask(connection, &lookup))?,
            None => runtime.block_on(report(address))?,
        }
        latencies.push(began.elapsed());
        thread::sleep(PAUSE);
    }
    latencies.sort_unstable();
    Ok(Latencies(latencies))
}

async fn open(address: &Address, request: &str) -> Result<Connection> {
    let mut connection = Dialer::new(DialOptions::default()).dial(address).await?;
    let greeting = Hello::default().encode() + request;
    ask(&mut connection, &greeting).await?;
    Ok(connection)
}

async fn report(address: &Address) -> Result<()> {
    let request = format!(
        "{{\"report\": {{\"method\": \"m\", \"taskhash\": \"{HASH}\", \"outhash\": \"{HASH}\", \"unihash\": \"{HASH}\"}}}}\n"
    );
    open(address, &request).await.map(|_| ())
}

/// Sends lines, and waits for one.
async fn ask(connection: &mut Connection, lines: &str) -> Result<()> {
    connection.send(lines.as_bytes()).await?;
    while connection.lines().next_line()?.is_none() {
        if !connection.receive().await? {
            return Err("the server closed the connection".into());
        }
    }
    Ok(())
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}
