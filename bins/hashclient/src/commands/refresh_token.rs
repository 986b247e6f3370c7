//! `refresh-token`.

use clap::Args;

use crate::commands::user;
use crate::context::Context;
use crate::failure::Failure;

/// Gives a user a new token and prints it; the old one is void
#[derive(Args, Debug)]
pub(crate) struct RefreshToken {
    /// Name of the user; without it, the one that is logged in
    #[arg(short, long, alias = "user", value_name = "USER")]
    username: Option<String>,
}

impl RefreshToken {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let reply = client.refresh_token(self.username.as_deref()).await?;
        let json = context.json;
        user::deliver_token(&mut context.output, &reply.username, |output| match json {
            true => output.json(&reply),
            false => user::print(output, &reply.username, None, Some(&reply.token)),
        })
    }
}
