//! An upstream that can be told to misbehave.
//!
//! It knows the hashes that end with [`MARK`], and what it knows follows from the hash alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hashserv_tests::hash;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Last digits of a hash that the upstream knows.
const MARK: &str = "aa";

/// What would be run on every builder if it came through.
const HOSTILE: &str = "${@os.system('true')}";

/// How the upstream behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manners {
    #[default]
    Good,
    /// It answers nothing until it behaves again.
    Frozen,
    /// It sends one byte at a time.
    Trickling,
    /// It answers by lines that are no replies.
    Rubbish,
    /// It closes connections instead of answering.
    Closing,
    /// It sends half a reply and closes.
    Torn,
    /// Its unihashes are none.
    Lying,
    /// It answers each question three times.
    Thrice,
    /// It refuses every question.
    Refusing,
    /// It sends a line that does not end.
    Endless,
}

/// A hash that the upstream knows.
pub(crate) fn known(hash: &str) -> String {
    format!("{}{MARK}", &hash[..62])
}

/// A hash that the upstream does not know.
pub(crate) fn unknown(hash: &str) -> String {
    format!("{}00", &hash[..62])
}

/// The unihash that the upstream has for a taskhash or an outhash.
pub(crate) fn unihash_of(task_or_output: &str) -> Option<String> {
    task_or_output.ends_with(MARK).then(|| hash(&format!("upstream {task_or_output}")))
}

/// The upstream.
pub(crate) struct Upstream {
    pub(crate) address: String,
    manners: Arc<Mutex<Manners>>,
    listening: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let manners = Arc::new(Mutex::new(Manners::Good));
        let shared = manners.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Session::new(stream, shared.clone()).serve());
            }
        });
        Upstream { address, manners, listening }
    }

    pub(crate) fn behave(&self, manners: Manners) {
        *self.manners.lock().expect("no panic") = manners;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

struct Session {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    manners: Arc<Mutex<Manners>>,
    stream: Option<&'static str>,
}

impl Session {
    fn new(stream: TcpStream, manners: Arc<Mutex<Manners>>) -> Self {
        let (reader, writer) = stream.into_split();
        Session { reader: BufReader::new(reader), writer, manners, stream: None }
    }

    fn manners(&self) -> Manners {
        *self.manners.lock().expect("no panic")
    }

    async fn serve(mut self) -> Option<()> {
        let mut wants_headers = false;
        loop {
            let line = self.line().await?;
            wants_headers |= line.eq_ignore_ascii_case("needs-headers: true");
            if line.is_empty() {
                break;
            }
        }
        if wants_headers {
            self.writer.write_all(b"\n").await.ok()?;
        }
        loop {
            let line = self.line().await?;
            let reply = self.reply(&line);
            self.send(&reply).await?;
        }
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line).await.ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    }

    fn reply(&mut self, line: &str) -> String {
        let lies = self.manners() == Manners::Lying;
        match self.stream {
            Some(_) if line.is_empty() || line == "END" => {
                self.stream = None;
                "ok".to_owned()
            }
            Some("get-stream") => {
                let taskhash = line.split_whitespace().last().unwrap_or_default();
                if lies { lie(taskhash) } else { unihash_of(taskhash).unwrap_or_default() }
            }
            Some(_) => "false".to_owned(),
            None => {
                let request: Value = serde_json::from_str(line).unwrap_or_default();
                let mode =
                    ["get-stream", "exists-stream"].into_iter().find(|mode| request.get(mode).is_some());
                self.stream = mode;
                if mode.is_some() { "\"ok\"".to_owned() } else { row(&request, lies).to_string() }
            }
        }
    }

    async fn send(&mut self, reply: &str) -> Option<()> {
        while self.manners() == Manners::Frozen {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let bytes = match self.manners() {
            Manners::Closing => return None,
            Manners::Torn => {
                self.writer.write_all(&reply.as_bytes()[..reply.len() / 2]).await.ok()?;
                return None;
            }
            Manners::Thrice => format!("{reply}\n{reply}\n{reply}\n").into_bytes(),
            Manners::Rubbish => b"\xff\xfe\x00 no reply {\"\n".to_vec(),
            Manners::Refusing => b"{\"invoke-error\": {\"message\": \"not today\"}}\n".to_vec(),
            Manners::Endless => return self.send_without_end().await,
            _ => format!("{reply}\n").into_bytes(),
        };
        for (number, byte) in bytes.iter().enumerate() {
            if self.manners() != Manners::Trickling {
                return self.writer.write_all(&bytes[number..]).await.ok();
            }
            self.writer.write_all(&[*byte]).await.ok()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(())
    }

    async fn send_without_end(&mut self) -> Option<()> {
        while self.manners() == Manners::Endless {
            self.writer.write_all(&[b'a'; 10_000]).await.ok()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

/// What is no unihash, of several kinds.
fn lie(hash: &str) -> String {
    match hash.bytes().next() {
        Some(b'0'..=b'3') => HOSTILE.to_owned(),
        Some(b'4'..=b'7') => "f".repeat(5_000),
        Some(b'8'..=b'b') => self::hash(hash).to_uppercase(),
        _ => format!("{} {}", &hash[..20], &hash[20..]),
    }
}

/// The reply to a request in normal mode.
fn row(request: &Value, lies: bool) -> Value {
    let asked = request.get("get").or_else(|| request.get("get-outhash")).cloned().unwrap_or_default();
    let is_output = request.get("get-outhash").is_some();
    let hash_asked = asked[if is_output { "outhash" } else { "taskhash" }].as_str().unwrap_or_default();
    let Some(unihash) = unihash_of(hash_asked) else { return Value::Null };
    let unihash = if lies { lie(hash_asked) } else { unihash };
    let taskhash =
        if is_output { hash(&format!("upstream task {hash_asked}")) } else { hash_asked.to_owned() };
    json!({
        "id": 1, "method": asked["method"], "taskhash": taskhash, "unihash": unihash, "gc_mark": "",
        "outhash": if is_output { hash_asked.to_owned() } else { hash(&format!("upstream output {taskhash}")) },
        "created": "2026-01-01T00:00:00+00:00", "owner": null, "PN": null, "PV": null, "PR": null, "task": null,
        "outhash_siginfo": null,
    })
}
