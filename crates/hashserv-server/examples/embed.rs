//! A server within a program of one's own: run it with `cargo run -p hashserv-server --example embed`.
//!
//! The database is a file of SQLite in a temporary folder, the port is picked by the system, and the server is
//! stopped so that nothing acknowledged is lost.

use std::error::Error;
use std::sync::Arc;

use hashserv_protocol::Address;
use hashserv_server::{Limits, Server};
use hashserv_service::{Service, ServiceOptions};
use hashserv_storage_sql::{Options, open};
use hashserv_transport::{DialOptions, Dialer, ListenOptions, Listener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running server.
pub(crate) struct EmbeddedServer {
    address: Address,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    /// Removed with this value, so after the database was closed.
    _folder: tempfile::TempDir,
}

impl EmbeddedServer {
    /// Starts a server on a port of 127.0.0.1 that the system picks.
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let database = folder.path().join("hashserv.db").display().to_string().parse()?;
        let storage = open(&database, &Options::default()).await?;
        let service = Arc::new(Service::new(storage, None, &ServiceOptions::default()));
        let listener = Listener::bind(&"127.0.0.1:0".parse()?, &ListenOptions::default()).await?;
        let address = listener.local_address().clone();
        let stop = CancellationToken::new();
        let server = Server::new(service, Limits::default());
        let serving = tokio::spawn(server.run(vec![listener], stop.clone()));
        Ok(EmbeddedServer { address, stop, serving, _folder: folder })
    }

    /// Returns the address that clients connect to, with its real port.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Stops the server: requests under way are answered, and the database is closed.
    pub(crate) async fn stop(self) -> Result<(), Box<dyn Error>> {
        self.stop.cancel();
        Ok(self.serving.await?)
    }
}

/// Sends one request to a server and returns the reply.
pub(crate) async fn ask(address: &Address, request: &str) -> Result<String, Box<dyn Error>> {
    let mut connection = Dialer::new(DialOptions::default()).dial(address).await?;
    connection.send(format!("OEHASHEQUIV 1.1\n\n{request}\n").as_bytes()).await?;
    loop {
        if let Some(line) = connection.lines().next_line()? {
            return Ok(String::from_utf8_lossy(line).into_owned());
        }
        if !connection.receive().await? {
            return Err("the server closed the connection".into());
        }
    }
}

#[tokio::main]
#[allow(dead_code, clippy::print_stdout, reason = "a program, which a test includes for what it is made of")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = EmbeddedServer::start().await?;
    println!("serving on {}", server.address());
    println!("ping: {}", ask(server.address(), r#"{"ping": {}}"#).await?);
    server.stop().await
}
