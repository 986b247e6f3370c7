//! A server in memory for unit tests, and output to look at.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use hashserv_client::{Client, ClientOptions, Connect, Connecting, Connection, Limits, TransportError};

/// What a server answers to a line; `None` closes the connection.
pub(crate) type Answer = fn(&str) -> Option<String>;

/// A client whose first connection is served by the first function, and so on. To dial once more fails.
pub(crate) fn client(servers: &[Answer]) -> Client {
    Client::new(Servers(Mutex::new(servers.to_vec().into())), ClientOptions::default())
}

struct Servers(Mutex<VecDeque<Answer>>);

impl Connect for Servers {
    fn connect(&self) -> Connecting<'_> {
        let server = self.0.lock().unwrap().pop_front();
        Box::pin(async move {
            let Some(answer) = server else {
                let address = "unix://memory".parse().unwrap();
                return Err(TransportError::Connect { address, source: io::ErrorKind::NotFound.into() });
            };
            let (connection, peer) = Connection::pair(Limits::default());
            tokio::spawn(serve(peer, answer));
            Ok(connection)
        })
    }
}

async fn serve(mut peer: Connection, answer: Answer) {
    let mut greeting = 3;
    while peer.receive().await.unwrap_or(false) {
        while let Some(line) = peer.lines().next_line().unwrap() {
            if greeting > 0 {
                greeting -= 1;
                continue;
            }
            let line = String::from_utf8(line.to_vec()).unwrap();
            let Some(reply) = answer(&line) else { return };
            if peer.send(format!("{reply}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// What was printed.
#[derive(Clone, Default)]
pub(crate) struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
