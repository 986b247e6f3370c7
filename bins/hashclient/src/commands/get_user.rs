//! `get-user`.

use clap::Args;

use crate::commands::user;
use crate::context::Context;
use crate::failure::Failure;

/// Prints a user's permissions
#[derive(Args, Debug)]
pub(crate) struct GetUser {
    /// Name of the user; without it, the one that is logged in
    #[arg(short, long, alias = "user", value_name = "USER")]
    username: Option<String>,
}

impl GetUser {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let Some(reply) = client.user(self.username.as_deref()).await? else {
            let name = self.username.as_deref().map_or_else(String::new, |name| format!(" '{name}'"));
            return Err(Failure::Missing(format!("No such user{name}")));
        };
        if context.json {
            return context.output.json(&reply);
        }
        user::print(&mut context.output, &reply.username, Some(&reply.permissions), None)
    }
}
