//! What the tests share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hashserv_client::{Client, ClientOptions};
use hashserv_protocol::Address;
use hashserv_server::{Limits, Server};
use hashserv_service::{Service, ServiceOptions, Unavailable, Upstream};
use hashserv_storage::{Details, Report, Storage, TaskKey, Timestamp, Unihash};
use hashserv_storage_sql::{Options, open};
use hashserv_transport::{DialOptions, Dialer, ListenOptions, Listener};
use hashserv_upstream::{ClientUpstream, UpstreamOptions};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// For upstreams that answer: nothing shall fail because the machine is busy.
pub(crate) const GENEROUS_TIMEOUT: Duration = Duration::from_secs(60);

/// For upstreams that do not.
pub(crate) const SHORT_TIMEOUT: Duration = Duration::from_millis(200);

/// The hash of a number.
pub(crate) fn hash(number: usize) -> String {
    format!("{number:064x}")
}

pub(crate) fn unihash(number: usize) -> Unihash {
    Unihash::parse(&hash(number)).unwrap()
}

pub(crate) fn upstream(address: &Address, timeout: Duration) -> ClientUpstream {
    let options = UpstreamOptions { timeout, ..UpstreamOptions::default() };
    let dialer = Dialer::new(DialOptions { connect_timeout: timeout, ..DialOptions::default() });
    ClientUpstream::new(dialer, address.clone(), options)
}

/// Asks for the unihashes of the tasks of these numbers; an error if any is not answered.
pub(crate) async fn get(
    upstream: &ClientUpstream,
    numbers: impl IntoIterator<Item = usize>,
) -> Result<Vec<Option<Unihash>>, Unavailable> {
    let taskhashes: Vec<String> = numbers.into_iter().map(hash).collect();
    let keys: Vec<TaskKey<'_>> =
        taskhashes.iter().map(|taskhash| TaskKey { method: "m", taskhash }).collect();
    upstream.unihashes(&keys).await.into_iter().collect()
}

pub(crate) fn report(taskhash: usize, outhash: usize) -> Report {
    Report {
        method: "m".to_owned(),
        taskhash: hash(taskhash),
        outhash: hash(outhash),
        unihash: unihash(taskhash),
        created: Timestamp::now(),
        details: Details::default(),
    }
}

/// The reply about the output `o` of the method `m`, and about its task `t`.
pub(crate) fn row(unihash: &str) -> String {
    format!(
        "{{\"id\": 1, \"method\": \"m\", \"taskhash\": \"t\", \"outhash\": \"o\", \"created\": null, \
         \"owner\": null, \"PN\": null, \"PV\": null, \"PR\": null, \"task\": null, \
         \"outhash_siginfo\": null, \"unihash\": \"{unihash}\"}}\n"
    )
}

pub(crate) async fn storage(path: &Path) -> Arc<dyn Storage> {
    let name = path.join("hashserv.db").to_str().unwrap().parse().unwrap();
    open(&name, &Options::default()).await.unwrap()
}

/// A service over an empty database.
pub(crate) async fn service(upstream: Option<Arc<dyn Upstream>>) -> (Service, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path()).await;
    (Service::new(storage, upstream, &ServiceOptions::default()), directory)
}

/// A server that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) address: Address,
    pub(crate) service: Arc<Service>,
    stop: CancellationToken,
    running: JoinHandle<()>,
    directory: TempDir,
}

impl Running {
    pub(crate) async fn start(upstream: Option<Arc<dyn Upstream>>) -> Self {
        Self::start_at("127.0.0.1:0", upstream).await
    }

    pub(crate) async fn start_at(address: &str, upstream: Option<Arc<dyn Upstream>>) -> Self {
        let (service, directory) = service(upstream).await;
        Self::serve(address, service, directory).await
    }

    /// Serves what is in a database in that directory.
    pub(crate) async fn serve(address: &str, service: Service, directory: TempDir) -> Self {
        let service = Arc::new(service);
        let listener = Listener::bind(&address.parse().unwrap(), &ListenOptions::default()).await.unwrap();
        let address = listener.local_address().to_string().parse().unwrap();
        let stop = CancellationToken::new();
        let server = Server::new(service.clone(), Limits::default());
        let running = tokio::spawn(server.run(vec![listener], stop.clone()));
        Running { address, service, stop, running, directory }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address.clone(), ClientOptions::default()).await.unwrap()
    }

    /// Stops the server, and tells where its database is.
    pub(crate) async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.running.await.unwrap();
        self.directory
    }
}

/// Asks again and again until it is true.
pub(crate) async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(GENEROUS_TIMEOUT, asking).await.is_ok(), "{what}");
}
