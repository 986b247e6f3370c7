// A small server in this process, for tests and the documentation: it keeps nothing but unihashes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Taskhash that the server knows from the start. Its unihash is the same.
pub(crate) const KNOWN: &str = "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184";

type Entries = Arc<Mutex<HashMap<String, String>>>;

/// Starts a server on a free port and returns its address. It ends with the runtime.
pub(crate) async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let entries = Entries::new(Mutex::new([(KNOWN.to_owned(), KNOWN.to_owned())].into()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, entries.clone()));
        }
    });
    address
}

/// Answers one client until it closes the connection.
async fn serve(stream: TcpStream, entries: Entries) -> std::io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut lines = BufReader::new(reading).lines();
    // The handshake ends with an empty line.
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let mut is_streaming = false;
    while let Some(line) = lines.next_line().await? {
        let reply = if !is_streaming {
            let reply = answer(&serde_json::from_str(&line)?, &entries);
            is_streaming = reply == "ok";
            reply.to_string()
        } else if line == "END" {
            is_streaming = false;
            "ok".to_owned()
        } else {
            let taskhash = line.rsplit(' ').next().unwrap_or_default();
            entries.lock().unwrap().get(taskhash).cloned().unwrap_or_default()
        };
        // The reply to every line before the next one is read: who only sends is soon held up.
        writing.write_all(format!("{reply}\n").as_bytes()).await?;
    }
    Ok(())
}

/// The reply to a request in normal mode.
fn answer(request: &Value, entries: &Entries) -> Value {
    let (command, arguments) = request.as_object().unwrap().iter().next().unwrap();
    let taskhash = arguments["taskhash"].as_str().unwrap_or_default();
    let mut entries = entries.lock().unwrap();
    let task =
        |unihash: &str| json!({"taskhash": taskhash, "method": arguments["method"], "unihash": unihash});
    match command.as_str() {
        "get" => entries.get(taskhash).map_or(Value::Null, |unihash| task(unihash)),
        "report" => {
            let reported = arguments["unihash"].as_str().unwrap_or_default().to_owned();
            task(entries.entry(taskhash.to_owned()).or_insert(reported))
        }
        "get-stats" => {
            let figures = json!({"num": 1, "total_time": 0, "max_time": 0, "average": 0, "stdev": 0});
            json!({"requests": figures})
        }
        // A collection that has just ended.
        "gc-status" => json!({"keep": entries.len(), "remove": 0, "mark": null}),
        "get-stream" => json!("ok"),
        _ => json!({"invoke-error": {"message": "Unknown command"}}),
    }
}
