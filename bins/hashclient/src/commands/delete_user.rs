//! `delete-user`.

use clap::Args;

use crate::commands::user;
use crate::context::Context;
use crate::failure::Failure;

/// Deletes a user
#[derive(Args, Debug)]
pub(crate) struct DeleteUser {
    /// Name of the user
    #[arg(short, long, alias = "user", value_name = "USER")]
    username: String,
}

impl DeleteUser {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let reply = client.delete_user(Some(&self.username)).await?;
        if context.json {
            return context.output.json(&reply);
        }
        user::print(&mut context.output, &reply.username, None, None)
    }
}
