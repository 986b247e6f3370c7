//! Accounts of users.

use hashserv_protocol::Text;
use hashserv_protocol::arguments::{Auth, User, UserOrSelf, UserPermissions};
use hashserv_protocol::reply::{self, DeletedUser, LoggedIn, NewToken, NewUser, Users};
use hashserv_service::{Accounts, Denial, LOGIN_FAILURE_DELAY, Permissions, ServiceError, Token, UserInfo};
use serde_json::Value;
use tracing::info;

use super::exchange::Exchange;
use crate::refusal::{Failed, Fault, Refused};

pub(crate) async fn auth(exchange: &mut Exchange<'_>) -> Result<LoggedIn, Fault> {
    let arguments: Auth<'_> = exchange.request.arguments()?;
    let token = Token::from(arguments.token.into_revealed().into_owned());
    let logged_in = accounts(exchange).log_in(&arguments.username, &token).await;
    if let Err(ServiceError::Denied(Denial::LoginFailed(_))) = logged_in {
        exchange.paused += LOGIN_FAILURE_DELAY;
    }
    let (caller, user) = logged_in?;
    *exchange.caller = caller;
    let permissions = owned(user.permissions.names());
    Ok(LoggedIn { result: true, username: user.name, permissions })
}

pub(crate) async fn get_user(exchange: &mut Exchange<'_>) -> Result<Option<reply::User>, Fault> {
    let name = user_named(exchange).await?;
    match accounts(exchange).require_self_or_user_admin(exchange.caller, name.as_deref()).await {
        Err(ServiceError::Denied(Denial::NoSuchUser(_))) => Ok(None),
        user => Ok(Some(user_reply(user?))),
    }
}

pub(crate) async fn get_all_users(exchange: &mut Exchange<'_>) -> Result<Users, Fault> {
    let users = accounts(exchange).users().await?;
    Ok(Users { users: users.into_iter().map(user_reply).collect() })
}

pub(crate) async fn become_user(exchange: &mut Exchange<'_>) -> Result<reply::User, Fault> {
    let arguments: User<'_> = exchange.request.arguments()?;
    let before = exchange.caller.user_name().map(str::to_owned);
    let user = accounts(exchange).become_user(exchange.caller, &arguments.username).await?;
    info!("{:?} acts as {:?} from now on", before.unwrap_or_default(), user.name);
    Ok(user_reply(user))
}

pub(crate) async fn new_user(exchange: &mut Exchange<'_>) -> Result<NewUser, Fault> {
    let arguments: UserPermissions<'_> = exchange.request.arguments()?;
    let permissions = parse_permissions(&arguments.permissions)?;
    let token = new_token(exchange).await?;
    accounts(exchange).create_user(&arguments.username, permissions, &token).await?;
    Ok(NewUser {
        username: arguments.username.to_string(),
        permissions: owned(permissions.granted_names()),
        token: token.reveal().into(),
    })
}

pub(crate) async fn set_user_perms(exchange: &mut Exchange<'_>) -> Result<reply::User, Fault> {
    let arguments: UserPermissions<'_> = exchange.request.arguments()?;
    let permissions = parse_permissions(&arguments.permissions)?;
    Ok(user_reply(accounts(exchange).set_permissions(&arguments.username, permissions).await?))
}

pub(crate) async fn refresh_token(exchange: &mut Exchange<'_>) -> Result<NewToken, Fault> {
    let user = self_or_other(exchange).await?;
    let token = new_token(exchange).await?;
    accounts(exchange).set_token(&user, &token).await?;
    Ok(NewToken { username: user.name, token: token.reveal().into() })
}

pub(crate) async fn delete_user(exchange: &mut Exchange<'_>) -> Result<DeletedUser, Fault> {
    let user = self_or_other(exchange).await?;
    accounts(exchange).delete_user(&user).await?;
    Ok(DeletedUser { username: user.name })
}

/// Waits for the caller's turn to get a token.
async fn new_token(exchange: &Exchange<'_>) -> Result<Token, Failed> {
    let tell = |waits| exchange.waits_for_turn.map(|turn| turn.send_replace(waits));
    tell(true);
    let token = accounts(exchange).new_token(exchange.caller).await;
    tell(false);
    Ok(token?)
}

fn accounts<'a>(exchange: &Exchange<'a>) -> &'a Accounts {
    exchange.shared.service.accounts()
}

async fn require_user_admin(exchange: &mut Exchange<'_>) -> Result<(), Fault> {
    Ok(accounts(exchange).require_user_admin(exchange.caller).await?)
}

/// The user that the request is about, if the caller may manage that user.
async fn self_or_other(exchange: &mut Exchange<'_>) -> Result<UserInfo, Fault> {
    let name = user_named(exchange).await?;
    Ok(accounts(exchange).require_self_or_user_admin(exchange.caller, name.as_deref()).await?)
}

/// The name of the user that the request is about; none means the caller.
async fn user_named(exchange: &mut Exchange<'_>) -> Result<Option<String>, Fault> {
    if exchange.caller.user_name().is_none() {
        // Permissions are checked before arguments, where that can be.
        require_user_admin(exchange).await?;
    }
    let arguments: UserOrSelf<'_> = exchange.request.arguments()?;
    Ok(arguments.username.map(Text::into_owned))
}

fn parse_permissions(value: &Value) -> Result<Permissions, Refused> {
    let Value::Array(values) = value else {
        return Err(Refused::new("Unexpected type for permissions"));
    };
    let names: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
    let names =
        names.ok_or_else(|| Refused::new("Unexpected type for permissions: a list of strings is needed"))?;
    Ok(Permissions::from_names(names)?)
}

fn user_reply(user: UserInfo) -> reply::User {
    reply::User { username: user.name, permissions: owned(user.permissions.granted_names()) }
}

fn owned(names: Vec<&'static str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}
