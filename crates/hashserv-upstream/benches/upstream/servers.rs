//! Servers in this process.

use std::sync::Arc;
use std::time::Duration;

use hashserv_client::{Client, ClientOptions};
use hashserv_protocol::Address;
use hashserv_server::{Limits, Server};
use hashserv_service::{Service, ServiceOptions, Upstream};
use hashserv_storage::{MAX_BATCH, Storage, Unihash, UnihashEntry};
use hashserv_storage_sql::{Options, open};
use hashserv_transport::{DialOptions, Dialer, ListenOptions, Listener};
use hashserv_upstream::{ClientUpstream, UpstreamOptions};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Result;

pub(crate) const METHOD: &str = "oe.sstatesig.OEOuthashBasic";

/// The taskhash of a number.
pub(crate) fn key(number: usize) -> String {
    format!("{number:064x}")
}

/// A server that runs until it is stopped.
pub(crate) struct Running {
    address: Address,
    stop: CancellationToken,
    running: JoinHandle<()>,
    directory: TempDir,
}

impl Running {
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A server that failed has told so.
        let _ = self.running.await;
        drop(self.directory);
    }
}

/// A server that knows the unihashes of the first so many keys.
pub(crate) async fn serve_filled(keys: usize) -> Result<Running> {
    let (storage, directory) = database().await?;
    let entries: Vec<UnihashEntry> = (0..keys)
        .map(|number| UnihashEntry {
            method: METHOD.to_owned(),
            taskhash: key(number),
            unihash: Unihash::from_stored(&key(number)),
        })
        .collect();
    for batch in entries.chunks(MAX_BATCH) {
        storage.record_unihashes(batch.to_vec()).await?;
    }
    serve(storage, directory, None).await
}

/// A server that knows nothing, and has an upstream.
pub(crate) async fn serve_with_upstream(upstream: &Address, timeout: Duration) -> Result<Running> {
    let (storage, directory) = database().await?;
    let options = UpstreamOptions { timeout, ..UpstreamOptions::default() };
    let dialer = Dialer::new(DialOptions { connect_timeout: timeout, ..DialOptions::default() });
    let upstream = Arc::new(ClientUpstream::new(dialer, upstream.clone(), options));
    serve(storage, directory, Some(upstream)).await
}

pub(crate) async fn client(address: &Address) -> Result<Client> {
    Ok(Client::connect(address.clone(), ClientOptions::default()).await?)
}

async fn database() -> Result<(Arc<dyn Storage>, TempDir)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("hashserv.db");
    let name = path.to_str().ok_or("the path of the temporary directory is not UTF-8")?.parse()?;
    Ok((open(&name, &Options::default()).await?, directory))
}

async fn serve(
    storage: Arc<dyn Storage>,
    directory: TempDir,
    upstream: Option<Arc<dyn Upstream>>,
) -> Result<Running> {
    let service = Service::new(storage, upstream, &ServiceOptions::default());
    let listener = Listener::bind(&"127.0.0.1:0".parse()?, &ListenOptions::default()).await?;
    let address = listener.local_address().to_string().parse()?;
    let stop = CancellationToken::new();
    let server = Server::new(Arc::new(service), Limits::default());
    let running = tokio::spawn(server.run(vec![listener], stop.clone()));
    Ok(Running { address, stop, running, directory })
}
