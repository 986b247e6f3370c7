//! `get-all-users`.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::table;

/// Prints all users and their permissions
#[derive(Args, Debug)]
pub(crate) struct GetAllUsers {}

impl GetAllUsers {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let mut reply = client.all_users().await?;
        reply.users.sort_by(|a, b| a.username.cmp(&b.username));
        if context.json {
            return context.output.json(&reply);
        }
        let rows = reply.users.into_iter().map(|user| [user.username, user.permissions.join(" ")]).collect();
        context.output.line(table(["Username", "Permissions"], rows, false))
    }
}
