//! A network between a server and its database that can be made slow, frozen or cut.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// State of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Link {
    #[default]
    Good,
    /// What is sent arrives later by this time.
    Slow(Duration),
    /// Nothing arrives until the link is good again.
    Frozen,
    /// Connections break, and none can be made.
    Cut,
}

/// A proxy for a port of this machine.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    link: Arc<Mutex<Link>>,
    listening: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let link = Arc::new(Mutex::new(Link::Good));
        let shared = link.clone();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, target, shared.clone()));
            }
        });
        Proxy { port, link, listening }
    }

    pub(crate) fn set(&self, link: Link) {
        *self.link.lock().expect("no panic") = link;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn connect(client: TcpStream, target: u16, link: Arc<Mutex<Link>>) {
    if *link.lock().expect("no panic") == Link::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut up = tokio::spawn(pass(from_client, to_server, link.clone()));
    let mut down = tokio::spawn(pass(from_server, to_client, link.clone()));
    // Either way broken, the connection is.
    tokio::select! {
        _ = &mut up => down.abort(),
        _ = &mut down => up.abort(),
        () = cut(&link) => {
            up.abort();
            down.abort();
        }
    }
}

async fn cut(link: &Mutex<Link>) {
    while *link.lock().expect("no panic") != Link::Cut {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, link: Arc<Mutex<Link>>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        let mut state = *link.lock().expect("no panic");
        if let Link::Slow(delay) = state {
            tokio::time::sleep(delay).await;
        }
        while state == Link::Frozen {
            tokio::time::sleep(Duration::from_millis(20)).await;
            state = *link.lock().expect("no panic");
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
