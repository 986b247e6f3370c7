//! Changes of accounts: single statements, each a transaction, which give a row for each change.

use std::time::Duration;

use hashserv_storage::{NewUser, StorageError};
use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

use super::error::Failure;
use super::link::Links;
use super::patience::Patience;
use crate::answers::SharedFailure as _;

/// How long a change may take.
const LIMIT: Duration = Duration::from_secs(10);

const CREATE: &str = "\
    INSERT INTO users (username, token, permissions) VALUES ($1, $2, $3) ON CONFLICT (username) DO NOTHING \
    RETURNING id";

const PUT: &str = "\
    INSERT INTO users (username, token, permissions) VALUES ($1, $2, $3) \
    ON CONFLICT (username) DO UPDATE SET token = excluded.token, permissions = excluded.permissions \
    RETURNING id";

const SET_PERMISSIONS: &str = "UPDATE users SET permissions = $2 WHERE id = $1::bigint RETURNING id";

const SET_TOKEN: &str = "UPDATE users SET token = $2 WHERE id = $1::bigint RETURNING id";

const DELETE: &str = "DELETE FROM users WHERE id = $1::bigint RETURNING id";

pub(crate) async fn create(links: &Links, user: &NewUser) -> Result<bool, StorageError> {
    change(links, CREATE, &[&user.name, &user.token_hash, &user.permissions]).await
}

pub(crate) async fn put(links: &Links, user: &NewUser) -> Result<(), StorageError> {
    change(links, PUT, &[&user.name, &user.token_hash, &user.permissions]).await.map(|_| ())
}

pub(crate) async fn set_permissions(links: &Links, id: i64, permissions: &str) -> Result<bool, StorageError> {
    change(links, SET_PERMISSIONS, &[&id.to_string(), permissions]).await
}

pub(crate) async fn set_token(links: &Links, id: i64, token_hash: &str) -> Result<bool, StorageError> {
    change(links, SET_TOKEN, &[&id.to_string(), token_hash]).await
}

pub(crate) async fn delete(links: &Links, id: i64) -> Result<bool, StorageError> {
    change(links, DELETE, &[&id.to_string()]).await
}

/// Whether the statement changed an account. It is never run twice, as the answer would not be true.
async fn change(links: &Links, sql: &'static str, values: &[&str]) -> Result<bool, StorageError> {
    let mut patience = Patience::begin();
    loop {
        match change_once(links, sql, values).await {
            Ok(changed) => return Ok(changed),
            Err(failure) if patience.endures_once(&failure).await => {}
            Err(failure) => return Err(failure.storage_error()),
        }
    }
}

async fn change_once(links: &Links, sql: &'static str, values: &[&str]) -> Result<bool, Failure> {
    let mut arguments = PgArguments::default();
    values.iter().try_for_each(|value| arguments.add(*value)).map_err(sqlx::Error::Encode)?;
    let mut lease = links.take().await?;
    let rows = lease.link().fetch_all(sql, arguments, LIMIT).await;
    lease.give_back();
    Ok(!rows?.is_empty())
}
