//! Looks up the tasks on standard input, one `METHOD TASKHASH` a line, and prints their unihashes.
//!
//! Any number of lines: queries are sent while the replies to earlier ones arrive.
//!
//!     cargo run -p hashserv-client --example lookup -- unix://./hashserver.sock < tasks

#![allow(clippy::print_stdout, reason = "a program prints its result")]

use std::io::{self, BufRead};

use hashserv_client::stream::Get;
use hashserv_client::{Client, ClientError, ClientOptions};
use tokio::sync::mpsc;

/// Number of batches that wait for their replies at most.
const MAX_PENDING: usize = 16;

/// Number of lines that are sent at once.
const BATCH: usize = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: lookup ADDRESS < LINES")?;
    let mut client = Client::connect(&*address, ClientOptions::default()).await?;
    let (mut sender, mut receiver) = client.pipeline::<Get>().await?;
    // Batches that were sent; its bound holds up the sender while replies are behind.
    let (sent, mut unanswered) = mpsc::channel::<Vec<(String, String)>>(MAX_PENDING);
    let mut batches = read_batches();

    let sending = async {
        while let Some(batch) = batches.recv().await {
            // Announced first, so that replies are read while a long batch is written.
            if sent.send(batch.clone()).await.is_err() {
                break;
            }
            sender.send(&batch).await?;
        }
        drop(sent);
        Ok(())
    };
    let receiving = async {
        while let Some(batch) = unanswered.recv().await {
            let mut unihashes = Vec::with_capacity(batch.len());
            while unihashes.len() < batch.len() {
                receiver.receive(&mut unihashes, batch.len()).await?;
            }
            for ((method, taskhash), unihash) in batch.iter().zip(unihashes) {
                println!("{method} {taskhash} {}", unihash.as_deref().unwrap_or("-"));
            }
        }
        Ok::<(), ClientError>(())
    };
    // Side by side: a server stops reading while nobody reads its replies.
    tokio::try_join!(sending, receiving)?;
    sender.close_with(receiver).await;
    Ok(())
}

/// Reads standard input in a thread of its own, since it cannot be awaited.
fn read_batches() -> mpsc::Receiver<Vec<(String, String)>> {
    let (batches, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut lines = io::stdin().lock().lines().map_while(Result::ok).peekable();
        while lines.peek().is_some() {
            let words = |line: String| {
                let (method, taskhash) = line.trim().split_once(char::is_whitespace)?;
                Some((method.to_owned(), taskhash.trim().to_owned()))
            };
            let batch: Vec<_> = lines.by_ref().take(BATCH).filter_map(words).collect();
            if batches.blocking_send(batch).is_err() {
                break;
            }
        }
    });
    receiver
}
