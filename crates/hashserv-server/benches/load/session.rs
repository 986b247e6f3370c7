//! A client over any transport, the same code for all.

use std::sync::Arc;

use hashserv_protocol::Address;
use hashserv_transport::{Connection, DialOptions, Dialer};
use tokio::runtime::{Builder, Runtime};

use crate::keys::{HASH, Numbers};
use crate::wire::{Query, expect_ok, greeting};
use crate::{Bench, Result};

/// A connection in the mode for look-ups.
pub(crate) struct Session {
    connection: Connection,
    request: Vec<u8>,
}

impl Session {
    /// Connects, and switches to the mode.
    pub(crate) async fn open(dialer: &Dialer, address: &Address) -> Result<Self> {
        let mut connection = dialer.dial(address).await?;
        connection.send(greeting("get-stream").as_bytes()).await?;
        let mut session = Session { connection, request: Vec::new() };
        session.receive(1, expect_ok).await?;
        Ok(session)
    }

    /// Looks up so many keys at once.
    pub(crate) async fn ask(&mut self, numbers: &mut Numbers, window: u64) -> Result<u64> {
        self.request.clear();
        for _ in 0..window {
            Query::Get.append(numbers.next(), &mut self.request);
        }
        self.connection.send(&self.request).await?;
        self.receive(window, expect_hit).await?;
        Ok(window)
    }

    async fn receive(&mut self, lines: u64, check: impl Fn(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = lines;
        while left > 0 {
            if !self.connection.receive().await? {
                return Err("the server closed the connection".into());
            }
            while let Some(line) = self.connection.lines().next_line()? {
                check(line)?;
                left -= 1;
            }
        }
        Ok(())
    }
}

fn expect_hit(line: &[u8]) -> Result<()> {
    if line.len() == HASH { Ok(()) } else { Err("a key was not found".into()) }
}

/// A runtime for one client.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Trusts the certificate that the servers here have made themselves.
pub(crate) fn dialer(bench: &Bench) -> Arc<Dialer> {
    let certificate = bench.files().join("hashserv-cert.pem");
    Arc::new(Dialer::new(DialOptions { tls_ca: Some(certificate), ..DialOptions::default() }))
}
