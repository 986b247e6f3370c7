//! `new-user`.

use clap::Args;

use crate::commands::user;
use crate::context::Context;
use crate::failure::Failure;

/// Creates a user and prints the token to log in with
///
/// The token cannot be seen again; refresh-token makes a new one.
#[derive(Args, Debug)]
pub(crate) struct NewUser {
    /// Name of the user
    #[arg(short, long, alias = "user", value_name = "USER")]
    username: String,
    /// What the user may do: @read, @report, @db-admin, @user-admin, @all or @none
    #[arg(value_name = "PERM")]
    permissions: Vec<String>,
}

impl NewUser {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let reply = client.new_user(&self.username, &self.permissions).await?;
        let json = context.json;
        user::deliver_token(&mut context.output, &reply.username, |output| match json {
            true => output.json(&reply),
            false => user::print(output, &reply.username, Some(&reply.permissions), Some(&reply.token)),
        })
    }
}
