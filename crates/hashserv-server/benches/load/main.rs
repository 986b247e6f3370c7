//! What one server carries, measured on the real program from outside.
//!
//! ```text
//! cargo bench -p hashserv-server --bench load                             # all
//! cargo bench -p hashserv-server --bench load -- --only get,report        # some
//! cargo bench -p hashserv-server --bench load -- --rows 1000000           # with more tasks
//! cargo bench -p hashserv-server --bench load -- --quick                  # whether it works
//! ```
//!
//! The yardstick of look-ups is Redis, with the same keys, on the same machine, in turn with the server and
//! driven by the same code; `redis-server` is needed for that. A rate alone tells more of the machine than of
//! the server: quote ratios, and processor time for an operation.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its figures and what it does"
)]

mod arguments;
mod churn;
mod database;
mod drive;
mod growth;
mod keys;
mod lookups;
mod marks;
mod process;
mod redis;
mod reports;
mod server;
mod session;
mod table;
mod transports;
mod wire;

use std::cell::Cell;
use std::error::Error;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::arguments::Arguments;
use crate::drive::{Client, Figures, drive};
use crate::process::Process;
use crate::server::Server;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many tasks of the database have been reported: enough that the b-trees are deep.
const REPORTED: u64 = 200_000;

fn main() -> Result<()> {
    let bench = Bench::prepare(Arguments::parse()?)?;
    println!(
        "{} tasks, {} rounds of {} s, {} processors, load average {}",
        table::grouped(bench.arguments.rows as f64, 0),
        bench.arguments.rounds,
        bench.arguments.time.as_secs_f64(),
        std::thread::available_parallelism()?,
        load_average()?
    );
    println!();
    table::print_head();
    lookups::measure(&bench)?;
    transports::measure(&bench)?;
    churn::measure(&bench)?;
    reports::measure(&bench)?;
    marks::measure(&bench)?;
    growth::measure(&bench)?;
    table::print_legend();
    println!("Load average at the end: {}", load_average()?);
    Ok(())
}

/// What the measurements share.
pub(crate) struct Bench {
    pub(crate) arguments: Arguments,
    binary: PathBuf,
    database: PathBuf,
    /// On the disk that the build directory is on.
    files: TempDir,
    /// Where paths are short enough for sockets.
    sockets: TempDir,
    servers: Cell<usize>,
}

impl Bench {
    fn prepare(arguments: Arguments) -> Result<Self> {
        let binary = server::build()?;
        let files = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let database = files.path().join("main.db");
        database::fill(&database, arguments.rows, REPORTED)?;
        let sockets = TempDir::new()?;
        Ok(Bench { arguments, binary, database, files, sockets, servers: Cell::new(0) })
    }

    /// The database with what was asked for; it must not be written to.
    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    /// Where files of the measurements are to be.
    pub(crate) fn files(&self) -> &Path {
        self.files.path()
    }

    /// A database of the same contents, to be written to.
    pub(crate) fn copy_database(&self, name: &str) -> Result<PathBuf> {
        database::copy(&self.database, name)
    }

    pub(crate) fn serve(&self, database: &Path, options: &[&str]) -> Result<Server> {
        Server::start(self.arguments.command(&self.binary), database, &self.socket(), options)
    }

    /// A server that has read its memory ahead.
    pub(crate) fn serve_warm(&self, database: &Path) -> Result<Server> {
        let server = self.serve(database, &["--log", "INFO"])?;
        server.wait_until_read_ahead()?;
        Ok(server)
    }

    /// A path for a socket of its own.
    pub(crate) fn socket(&self) -> PathBuf {
        let number = self.servers.replace(self.servers.get() + 1);
        self.sockets.path().join(format!("{number}.sock"))
    }

    /// Those of the cases that are to be measured.
    pub(crate) fn wanted<T: Copy>(&self, cases: &[T], name: impl Fn(&T) -> &str) -> Vec<T> {
        cases.iter().filter(|case| self.arguments.wants(name(case))).copied().collect()
    }

    pub(crate) fn drive(&self, clients: Vec<Box<dyn Client>>, process: &Process) -> Result<Figures> {
        drive(clients, self.arguments.time, process)
    }

    /// Measures the contenders in turn, round after round, and gives the medians of each.
    pub(crate) fn in_turn(
        &self,
        contenders: usize,
        mut measure: impl FnMut(usize) -> Result<Figures>,
    ) -> Result<Vec<Figures>> {
        let mut measured = vec![Vec::with_capacity(self.arguments.rounds); contenders];
        for _ in 0..self.arguments.rounds {
            for (contender, figures) in measured.iter_mut().enumerate() {
                figures.push(measure(contender)?);
            }
        }
        Ok(measured.iter().map(|rounds| Figures::median(rounds)).collect())
    }
}

fn load_average() -> Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}
