//! A network between a storage and its database that can be told to hold something back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to a database. What a client sends from a certain text on is held back until it is released,
/// and arrives then even if the client has gone.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    released: watch::Sender<bool>,
    delivered: watch::Sender<bool>,
}

impl Proxy {
    /// Starts a proxy to a server, which holds back what comes after `text`.
    ///
    /// # Panics
    ///
    /// Where it cannot listen.
    pub async fn start(server: SocketAddr, text: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let released = watch::Sender::new(false);
        let delivered = watch::Sender::new(false);
        let (follow, tell) = (released.subscribe(), delivered.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(database) = TcpStream::connect(server).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_database, to_database) = database.into_split();
                tokio::spawn(pass(from_database, to_client));
                tokio::spawn(hold(from_client, to_database, text, follow.clone(), tell.clone()));
            }
        });
        Proxy { address, released, delivered }
    }

    /// The URL of a database at the server, through this proxy.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@{}/{database}", self.address)
    }

    /// Passes on what was held back.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// Waits until the database had time to read what was released.
    ///
    /// # Panics
    ///
    /// Never: the proxy lives as long as this value.
    pub async fn delivered(&self) {
        let mut delivered = self.delivered.subscribe();
        delivered.wait_for(|delivered| *delivered).await.expect("the proxy is there");
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // A client that has gone reads no more: what it asked for is answered all the same.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn hold(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    text: &'static str,
    mut released: watch::Receiver<bool>,
    delivered: watch::Sender<bool>,
) {
    let mut buffer = vec![0; 1 << 16];
    let mut held = Vec::new();
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let part = &buffer[..count];
        if held.is_empty() && !part.windows(text.len()).any(|window| window == text.as_bytes()) {
            let _ = to.write_all(part).await;
        } else {
            held.extend_from_slice(part);
        }
    }
    if !held.is_empty() {
        let _ = released.wait_for(|released| *released).await;
        let _ = to.write_all(&held).await;
        // Not closed at once, which the database might notice before it has read.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        delivered.send_replace(true);
    }
}
