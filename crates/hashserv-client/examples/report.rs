//! Reports what a task produced, and prints the unihash that the task has then.
//!
//!     cargo run -p hashserv-client --example report -- ADDRESS METHOD TASKHASH OUTHASH
//!
//! `HASHSERVER_LOGIN` and `HASHSERVER_TOKEN` log in where the server wants that.

#![allow(clippy::print_stdout, reason = "a program prints its result")]

use std::env;

use hashserv_client::{Client, ClientOptions, Login, Report};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, method, taskhash, outhash] = &arguments[..] else {
        return Err("usage: report ADDRESS METHOD TASKHASH OUTHASH".into());
    };
    let login = match (env::var("HASHSERVER_LOGIN"), env::var("HASHSERVER_TOKEN")) {
        (Ok(username), Ok(token)) => Some(Login::new(username, token)),
        _ => None,
    };
    let mut client = Client::connect(&**address, ClientOptions { login, ..ClientOptions::default() }).await?;
    let report = Report {
        method: method.as_str().into(),
        taskhash: taskhash.as_str().into(),
        outhash: outhash.as_str().into(),
        // The unihash for a task whose output nobody has reported before, as BitBake chooses it.
        unihash: taskhash.as_str().into(),
        ..Report::default()
    };
    println!("{}", client.report(report).await?.unihash);
    client.close().await;
    Ok(())
}
