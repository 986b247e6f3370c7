//! `set-user-perms`.

use clap::Args;

use crate::commands::user;
use crate::context::Context;
use crate::failure::Failure;

/// Gives a user these permissions, and no others
#[derive(Args, Debug)]
pub(crate) struct SetUserPerms {
    /// Name of the user
    #[arg(short, long, alias = "user", value_name = "USER")]
    username: String,
    /// What the user may do: @read, @report, @db-admin, @user-admin, @all or @none
    #[arg(value_name = "PERM")]
    permissions: Vec<String>,
}

impl SetUserPerms {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let reply = client.set_user_permissions(&self.username, &self.permissions).await?;
        if context.json {
            return context.output.json(&reply);
        }
        user::print(&mut context.output, &reply.username, Some(&reply.permissions), None)
    }
}
