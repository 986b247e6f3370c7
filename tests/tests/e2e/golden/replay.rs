//! Replaying a conversation.

use std::collections::HashMap;

use hashserv_tests::{Backend, HANDSHAKE, Launch, RawClient, TestServer, Transport};

use super::matching::Tokens;
use super::scenario::{Action, Scenario, Step};

/// Replays a conversation with servers of its own; says which step went otherwise.
pub(super) async fn replay(
    scenario: &Scenario,
    backend: Backend,
    transport: Transport,
) -> Result<(), String> {
    let servers = start_servers(scenario, backend, transport).await;
    let mut replay = Replay { servers, connections: HashMap::new(), tokens: Tokens::default() };
    for step in &scenario.steps {
        let outcome = replay.step(step, transport).await;
        outcome.map_err(|error| format!("step {}: {error}", step.number))?;
    }
    Ok(())
}

async fn start_servers(
    scenario: &Scenario,
    backend: Backend,
    transport: Transport,
) -> HashMap<String, TestServer> {
    let mut databases = HashMap::new();
    let mut servers: HashMap<String, TestServer> = HashMap::new();
    for server in scenario.servers() {
        let database = databases.entry(server.database).or_insert_with(|| backend.create());
        let mut launch = Launch::on(database.clone(), transport);
        for flag in &server.server_flags {
            let name = flag.strip_prefix("<<address:").and_then(|rest| rest.strip_suffix(">>"));
            launch = match name.map(|name| &servers[name]) {
                Some(upstream) => {
                    let authority = upstream.authority().display().to_string();
                    let launch = launch.args([upstream.address()]);
                    if transport == Transport::Wss {
                        launch.env("HASHSERVER_UPSTREAM_CA", &authority)
                    } else {
                        launch
                    }
                }
                None => launch.args([flag.as_str()]),
            };
        }
        servers.insert(server.name, launch.start().await);
    }
    servers
}

struct Replay {
    servers: HashMap<String, TestServer>,
    connections: HashMap<String, Connection>,
    tokens: Tokens,
}

struct Connection {
    client: RawClient,
    sent: Vec<String>,
}

impl Connection {
    async fn send(&mut self, line: String) {
        // The server may have closed the connection; the next step tells.
        drop(self.client.try_send_lines(&[&line]).await);
        self.sent.push(line);
    }

    /// Refusals are explained once the connection is open, unless the client has said that it ends, which `null`
    /// means but for stream modes, or takes any line for a reply.
    fn is_to_be_told_why(&self) -> bool {
        let open =
            self.sent.first().is_some_and(|line| line == HANDSHAKE[0]) && self.sent.contains(&String::new());
        let has_sent = |command: &str| self.sent.iter().any(|line| line.contains(command));
        let takes_any_line = has_sent("{\"get-stream\": null") || has_sent("{\"exists-stream\": null");
        let in_stream_mode = has_sent("-stream\": null");
        let has_ended = !in_stream_mode && self.sent.last().is_some_and(|line| line == "null");
        open && !has_ended && !takes_any_line
    }
}

impl Replay {
    async fn step(&mut self, step: &Step, transport: Transport) -> Result<(), String> {
        if let Action::Open(server) = &step.action {
            let client =
                RawClient::dial(self.servers[server].address()).await.map_err(|error| error.to_string())?;
            let connection = Connection { client, sent: Vec::new() };
            self.connections.insert(step.connection.clone(), connection);
            return Ok(());
        }
        let connection = self.connections.get_mut(&step.connection).ok_or("no such connection")?;
        match &step.action {
            Action::Send(line) => connection.send(self.tokens.fill_in(line)).await,
            Action::SendRepeat { prefix, repeat, count, suffix } => {
                connection.send(format!("{prefix}{}{suffix}", repeat.repeat(*count))).await;
            }
            Action::SendHex(hex) => {
                drop(connection.client.try_send_bytes(&bytes(hex)).await);
                connection.sent.push(hex.clone());
            }
            Action::Expect(line) => {
                let chunked = step.chunked && !transport.is_websocket();
                return expect(connection, &mut self.tokens, line, chunked).await;
            }
            Action::ExpectClose(_) => return expect_close(connection, step.malformed).await,
            Action::Close(_) => drop(self.connections.remove(&step.connection)),
            Action::Open(_) => unreachable!("opened above"),
        }
        Ok(())
    }
}

async fn expect(
    connection: &mut Connection,
    tokens: &mut Tokens,
    line: &str,
    chunked: bool,
) -> Result<(), String> {
    let message = connection.client.try_message().await.map_err(|error| error.to_string())?;
    let message = message.ok_or_else(|| format!("expected {}, but it was closed", shortened(line)))?;
    if message.chunked != chunked {
        return Err(format!("in chunks: {}", message.chunked));
    }
    if !tokens.line_matches(line, &message.text) {
        return Err(format!("expected {}, received {}", shortened(line), shortened(&message.text)));
    }
    Ok(())
}

async fn expect_close(connection: &mut Connection, malformed: bool) -> Result<(), String> {
    let line = |line: Result<Option<String>, std::io::Error>| line.map_err(|error| error.to_string());
    if malformed && connection.is_to_be_told_why() {
        let told = line(connection.client.try_line().await)?.ok_or("closed without a word")?;
        if !told.starts_with("{\"invoke-error\"") {
            return Err(format!("expected an invoke-error, received {}", shortened(&told)));
        }
    }
    match line(connection.client.try_line().await)? {
        None => Ok(()),
        Some(line) => Err(format!("expected the end, received {}", shortened(&line))),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |place: usize| u8::from_str_radix(&hex[place..place + 2], 16).expect("hex digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}
