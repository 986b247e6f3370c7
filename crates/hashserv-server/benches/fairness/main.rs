//! Delay of clients beside others that flood the server.
//!
//! ```text
//! cargo bench -p hashserv-server --bench fairness                              # all floods, 200 clients each
//! cargo bench -p hashserv-server --bench fairness -- --only ws-pings           # one of them
//! cargo bench -p hashserv-server --bench fairness -- --server PATH             # another build of the program
//! ```
//!
//! Everybody runs on this machine, so the flooding clients also take processor time from the others. Compare
//! with the row `none`, and with another build under the same load.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod arguments;
mod floods;
mod victims;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hashserv_protocol::Address;
use tempfile::TempDir;

use crate::arguments::Arguments;
use crate::floods::{FLOODS, Flood};
use crate::process::Process;
use crate::victims::{Latencies, VICTIMS};

#[path = "../load/process.rs"]
#[expect(dead_code, reason = "the memory is not looked at")]
mod process;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Time for the floods to rise before anything is measured.
const RISE: Duration = Duration::from_millis(500);

/// Time after which a server that does not listen counts as broken.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The addresses of a server.
pub(crate) struct Addresses {
    pub(crate) unix: Address,
    pub(crate) tcp: Address,
    pub(crate) ws: Address,
    pub(crate) wss: Address,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse()?;
    println!("{} flooding clients, {} s each", arguments.clients, arguments.time.as_secs_f64());
    println!();
    println!("| flood | client | exchanges | p50 ms | p99 ms | max ms | server CPU |");
    println!("| --- | --- | --: | --: | --: | --: | --: |");
    if arguments.only.is_none() {
        measure(&arguments, "none", None)?;
    }
    for (name, flood) in FLOODS {
        if arguments.only.as_deref().is_none_or(|only| only == name) {
            measure(&arguments, name, Some(flood))?;
        }
    }
    Ok(())
}

/// Measures all kinds of clients beside one flood, on a server of its own.
fn measure(arguments: &Arguments, name: &str, flood: Option<Flood>) -> Result<()> {
    let directory = TempDir::new()?;
    let (process, addresses) = start(&arguments.server, directory.path())?;
    victims::prepare(&addresses)?;
    let addresses = Arc::new(addresses);
    let stop = Arc::new(AtomicBool::new(false));
    if let Some(flood) = flood {
        flood.start(arguments.clients, &addresses, &stop);
        thread::sleep(RISE);
    }
    let (began, cpu) = (Instant::now(), process.cpu()?);
    let running: Vec<_> = VICTIMS
        .into_iter()
        .map(|(_, kind)| {
            let addresses = addresses.clone();
            let time = arguments.time;
            thread::spawn(move || victims::run(kind, &addresses, time))
        })
        .collect();
    for ((client, _), thread) in VICTIMS.into_iter().zip(running) {
        let latencies = thread.join().map_err(|_| "a client panicked")??;
        print(name, client, &latencies, (process.cpu()? - cpu) / began.elapsed().as_secs_f64());
    }
    stop.store(true, Ordering::Relaxed);
    Ok(())
}

fn print(flood: &str, client: &str, latencies: &Latencies, cpu: f64) {
    println!(
        "| {flood:14} | {client:12} | {:>6} | {:>8.2} | {:>8.2} | {:>8.2} | {:>4.0} % |",
        latencies.count(),
        latencies.percentile(50),
        latencies.percentile(99),
        latencies.percentile(100),
        cpu * 100.0
    );
}

/// Starts the program on a database of its own, and waits until it listens.
fn start(server: &Path, directory: &Path) -> Result<(Process, Addresses)> {
    let socket = directory.join("socket");
    let ports = [free_port()?, free_port()?, free_port()?];
    let mut command = std::process::Command::new(server);
    command.current_dir(directory).arg("--database").arg(directory.join("database"));
    command.arg("--bind").arg(format!("unix://{}", socket.display()));
    for (scheme, port) in ["", "ws://", "wss://"].into_iter().zip(ports) {
        command.arg("--bind").arg(format!("{scheme}127.0.0.1:{port}"));
    }
    let process = Process::start(command.stderr(std::process::Stdio::null()))?;
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", ports[2])).is_err() {
        if began.elapsed() > START_LIMIT {
            return Err("the server does not listen".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let addresses = Addresses {
        unix: format!("unix://{}", socket.display()).parse()?,
        tcp: format!("127.0.0.1:{}", ports[0]).parse()?,
        ws: format!("ws://127.0.0.1:{}", ports[1]).parse()?,
        wss: format!("wss://localhost:{}", ports[2]).parse()?,
    };
    Ok((process, addresses))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
