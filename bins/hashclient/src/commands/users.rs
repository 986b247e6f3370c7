//! Users: `get-user`, `get-all-users`, `new-user`, `set-user-perms`, `refresh-token`, `delete-user`.

use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Output, escaped, table};
use crate::standard_output;

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
        print(&mut context.output, &reply.username, Some(&reply.permissions), None)
    }
}

/// Prints all users and their permissions
#[derive(Args, Debug)]
pub(crate) struct GetAllUsers {}

impl GetAllUsers {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let mut users = client.all_users().await?;
        users.sort_by(|a, b| a.username.cmp(&b.username));
        if context.json {
            return context.output.json(&json!({ "users": users }));
        }
        let rows = users.into_iter().map(|user| [user.username, user.permissions.join(" ")]).collect();
        context.output.line(table(["Username", "Permissions"], rows, false))
    }
}

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
        standard_output::check_open()?;
        let client = context.connect().await?;
        let reply = client.new_user(&self.username, &self.permissions).await?;
        let json = context.json;
        deliver_token(&mut context.output, &reply.username, |output| match json {
            true => output.json(&reply),
            false => print(output, &reply.username, Some(&reply.permissions), Some(reply.token.reveal())),
        })
    }
}

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
        print(&mut context.output, &reply.username, Some(&reply.permissions), None)
    }
}

/// Gives a user a new token and prints it; the old one is void
#[derive(Args, Debug)]
pub(crate) struct RefreshToken {
    /// Name of the user; without it, the one that is logged in
    #[arg(short, long, alias = "user", value_name = "USER")]
    username: Option<String>,
}

impl RefreshToken {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        standard_output::check_open()?;
        let client = context.connect().await?;
        let login = client.refresh_token(self.username.as_deref()).await?;
        let json = context.json;
        deliver_token(&mut context.output, &login.username, |output| match json {
            true => output.json(&json!({ "username": login.username, "token": login.token })),
            false => print(output, &login.username, None, Some(login.token.reveal())),
        })
    }
}

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
        let username = client.delete_user(Some(&self.username)).await?;
        if context.json {
            return context.output.json(&json!({ "username": username }));
        }
        print(&mut context.output, &username, None, None)
    }
}

/// Prints what is known of a user.
fn print(
    output: &mut Output,
    username: &str,
    permissions: Option<&[String]>,
    token: Option<&str>,
) -> Result<(), Failure> {
    output.line(format_args!("Username:    {}", escaped(username)))?;
    if let Some(permissions) = permissions {
        output.line(format!("Permissions: {}", permissions.join(" ")).trim_end())?;
    }
    if let Some(token) = token {
        output.line(format_args!("Token:       {token}"))?;
    }
    Ok(())
}

/// Prints a reply that has a token, which cannot be had again: a failure to print it names the user.
fn deliver_token(
    output: &mut Output,
    username: &str,
    print: impl FnOnce(&mut Output) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match print(output).and_then(|()| output.flush()) {
        Err(Failure::Output(source)) => Err(Failure::TokenLost { username: username.to_owned(), source }),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::*;

    struct ClosedPipe;

    impl Write for ClosedPipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn token_that_nobody_reads_is_a_failure() {
        let mut output = Output::to(io::BufWriter::new(ClosedPipe));
        let lost = deliver_token(&mut output, "alice", |output| print(output, "alice", None, Some("secret")));
        let failure = lost.unwrap_err();
        assert!(!failure.is_closed_pipe() && failure.status() == 1);
        let told = failure.to_string();
        assert!(told.contains("'alice'") && !told.contains("secret"), "{told}");
    }
}
