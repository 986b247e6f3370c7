//! Watches the garbage collection of a server until none is in progress.
//!
//!     cargo run -p hashserv-client --example watch_gc -- ADDRESS

#![allow(clippy::print_stdout, reason = "a program prints its result")]

use std::time::Duration;

use hashserv_client::{Client, ClientOptions};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: watch_gc ADDRESS")?;
    // A server that restarts meanwhile is waited for.
    let options = ClientOptions { retry_window: Duration::from_secs(60), ..ClientOptions::default() };
    let mut client = Client::connect(&*address, options).await?;
    loop {
        let status = client.gc_status().await?;
        let Some(mark) = status.mark else { break };
        println!("{mark}: {} to keep, {} to remove", status.keep, status.remove);
        tokio::time::sleep(PAUSE).await;
    }
    println!("no garbage collection in progress");
    client.close().await;
    Ok(())
}
