//! All that a day happens to.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashserv_tests::{Backend, BitbakeClient};

use crate::folder::Folder;
use crate::ledger::Ledger;
use crate::server::{Options, Server};
use crate::settings::Settings;
use crate::store::Store;
use crate::upstream::Upstream;

/// The administrator of the servers.
pub(crate) const ADMINISTRATOR: (&str, &str) = ("admin", "secret");

/// Ports for the servers: below those that the system gives to connections, which would otherwise take the port of a
/// server that is being started again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Servers, their database and their upstream.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) ledger: Arc<Ledger>,
    // In this order they are dropped: what stands on others goes first.
    pub(crate) servers: Vec<Server>,
    pub(crate) upstream: Upstream,
    pub(crate) store: Store,
    pub(crate) folder: Arc<Folder>,
    is_over: AtomicBool,
}

impl World {
    /// Starts two servers on a new database.
    pub(crate) async fn create(backend: Backend, settings: &Settings) -> Self {
        let folder = Arc::new(Folder::new(backend == Backend::Sqlite));
        let ledger = Arc::new(Ledger::new(settings.seed));
        let store = Store::create(backend, &folder).await;
        let upstream = Upstream::start().await;
        let mut world = World {
            settings: settings.clone(),
            ledger,
            servers: Vec::new(),
            upstream,
            store,
            folder,
            is_over: AtomicBool::new(false),
        };
        for name in ["first", "second"] {
            let upstream = ["--upstream", &world.upstream.address, "--upstream-timeout", "2"];
            let mut options = world.options(name);
            options.arguments.extend(upstream.map(str::to_owned));
            options.environment = world.store.environment();
            world.servers.push(Server::start(options, &world.folder, &world.ledger));
        }
        world
    }

    /// The options of a server on this database, without an upstream.
    pub(crate) fn options(&self, name: &str) -> Options {
        let (user, password) = ADMINISTRATOR;
        let mut arguments = vec!["--database".to_owned(), self.store.name()];
        let further = ["--admin-user", user, "--admin-password", password, "--log", "WARNING"];
        arguments.extend(further.map(str::to_owned));
        let addresses = vec![
            format!("unix://{}/{name}.sock", self.folder.path().display()),
            format!("127.0.0.1:{}", free_port()),
            format!("ws://127.0.0.1:{}/ws", free_port()),
        ];
        Options { name: name.to_owned(), addresses, arguments, environment: Vec::new() }
    }

    /// An address of one of the servers.
    pub(crate) fn address(&self, rng: &mut fastrand::Rng) -> &str {
        let addresses = self.servers[rng.usize(..self.servers.len())].addresses();
        &addresses[rng.usize(..addresses.len())]
    }

    /// A client of one of the servers.
    pub(crate) fn client(&self, rng: &mut fastrand::Rng) -> BitbakeClient {
        BitbakeClient::new(self.address(rng))
    }

    /// Whether the day is over: clients end when they have done what they are at.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Waits for some time between these bounds, in milliseconds.
    pub(crate) async fn pause(&self, rng: &mut fastrand::Rng, between: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(rng.u64(between))).await;
    }
}

fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(PORTS)).take(1_000).find(is_free).expect("a free port")
}
