//! Networks that are slow, or swallow everything.

use std::time::Duration;

use hashserv_protocol::{Address, Host};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::Result;

/// How much is read at a time.
const PIECE: usize = 256 * 1024;

/// A proxy on this machine that delays what goes through it, in each direction.
pub(crate) async fn delay_proxy(target: &Address, delay: Duration) -> Result<Address> {
    let Address::Tcp(target) = target.clone() else { return Err("only TCP is delayed".into()) };
    let (listener, address) = listen().await?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let target = (target.name.clone(), target.port.unwrap_or_default());
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(target).await else { return };
                if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
                    return;
                }
                let (near, far) = (near.into_split(), far.into_split());
                tokio::join!(pass_on(near.0, far.1, delay), pass_on(far.0, near.1, delay));
            });
        }
    });
    Ok(address)
}

/// A server on this machine that takes connections and never says a word.
pub(crate) async fn black_hole() -> Result<Address> {
    let (listener, address) = listen().await?;
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            taken.push(connection);
        }
    });
    Ok(address)
}

async fn listen() -> Result<(TcpListener, Address)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    Ok((listener, Address::Tcp(Host::new("127.0.0.1", Some(port)))))
}

/// Passes on what arrives, each piece so much later; nothing waits for an earlier one.
async fn pass_on(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, delay: Duration) {
    let (pieces, mut delayed) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut piece = vec![0; PIECE];
        while let Ok(count) = from.read(&mut piece).await
            && count > 0
            && pieces.send((Instant::now() + delay, piece[..count].to_vec())).is_ok()
        {}
    };
    let write = async move {
        while let Some((due, piece)) = delayed.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // The other side has gone already, or learns it now.
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
