//! `gc-sweep`.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use hashserv_client::Client;

use crate::context::Context;
use crate::failure::Failure;

/// Removes the unihashes without the mark; this ends the garbage collection
///
/// Where nothing has the mark, everything would be removed. That is done only after a question on the terminal, or
/// with --yes.
#[derive(Args, Debug)]
pub(crate) struct GcSweep {
    /// Name of the collection as it was given to gc-mark
    mark: String,
    /// Sweep even where nothing would be kept
    #[arg(short, long)]
    yes: bool,
}

impl GcSweep {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        if !self.yes
            && let Some(count) = removed_if_nothing_is_kept(client, &self.mark).await?
        {
            confirm(&self.mark, count).await?;
        }
        let removed = client.gc_sweep(&self.mark).await?;
        match context.json {
            true => context.output.json(&removed),
            false => context.output.line(format_args!("Removed {} rows", removed.count)),
        }
    }
}

/// The number of unihashes, if the sweep would remove all of them.
async fn removed_if_nothing_is_kept(client: &mut Client, mark: &str) -> Result<Option<u64>, Failure> {
    let status = client.gc_status().await?;
    // The server refuses to sweep by another mark than the current one.
    let is_current = status.mark.as_deref() == Some(mark);
    Ok(Some(status.remove).filter(|count| is_current && status.keep == 0 && *count > 0))
}

async fn confirm(mark: &str, count: u64) -> Result<(), Failure> {
    let consequence = format!("nothing has the mark '{mark}', so the sweep removes all {count} unihashes");
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::Unconfirmed(format!("{consequence}; use --yes if that is meant")));
    }
    let answer = tokio::task::spawn_blocking(move || {
        write!(io::stderr(), "{consequence}. Continue? [y/N] ")?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer)
    });
    let answer = answer.await?.map_err(Failure::Input)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Unconfirmed("not swept".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, client};

    async fn asked(server: Answer) -> Option<u64> {
        removed_if_nothing_is_kept(&mut client(&[server]), "M").await.unwrap()
    }

    #[tokio::test]
    async fn sweep_is_confirmed_where_nothing_would_be_kept() {
        assert_eq!(asked(|_| Some(r#"{"keep": 0, "remove": 7, "mark": "M"}"#.to_owned())).await, Some(7));
        assert_eq!(asked(|_| Some(r#"{"keep": 1, "remove": 7, "mark": "M"}"#.to_owned())).await, None);
        assert_eq!(asked(|_| Some(r#"{"keep": 0, "remove": 0, "mark": "M"}"#.to_owned())).await, None);
        assert_eq!(asked(|_| Some(r#"{"keep": 0, "remove": 7, "mark": "N"}"#.to_owned())).await, None);
    }
}
