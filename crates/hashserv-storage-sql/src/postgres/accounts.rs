//! Changes of accounts: each a transaction, whose output tells whether an account was changed.

use hashserv_storage::{NewUser, StorageError};
use sqlx::SqlSafeStr as _;
use tokio::time::Instant;

use super::error::Failure;
use super::link::Links;
use super::patience::{Patience, ROW_DEADLINE};
use super::transaction::{ANSWER_LIMIT, program_without_lock};
use crate::answers::SharedFailure as _;

/// Makes a program of a statement; `v` is the array of its values.
macro_rules! change {
    ($statement:expr) => {
        program_without_lock!(
            "DECLARE
                v text[] := ARRAY(SELECT json_array_elements_text(current_setting('hashserv.input')::json));
            BEGIN ",
            $statement,
            "; PERFORM set_config('hashserv.output', FOUND::text, true); END"
        )
    };
}

const CREATE: &str = change!(
    "INSERT INTO users (username, token, permissions) VALUES (v[1], v[2], v[3]) ON CONFLICT (username) DO NOTHING"
);

const PUT: &str = change!(
    "INSERT INTO users (username, token, permissions) VALUES (v[1], v[2], v[3]) \
    ON CONFLICT (username) DO UPDATE SET token = excluded.token, permissions = excluded.permissions"
);

const SET_PERMISSIONS: &str = change!("UPDATE users SET permissions = v[2] WHERE id = v[1]::bigint");

const SET_TOKEN: &str = change!("UPDATE users SET token = v[2] WHERE id = v[1]::bigint");

const DELETE: &str = change!("DELETE FROM users WHERE id = v[1]::bigint");

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

/// Returns whether the program changed an account. It is never run twice, as the answer would not be true.
async fn change(links: &Links, program: &'static str, values: &[&str]) -> Result<bool, StorageError> {
    let input = serde_json::to_string(values).map_err(StorageError::backend)?;
    let until = Instant::now() + ROW_DEADLINE;
    let mut patience = Patience::at_most_until(until);
    loop {
        match change_once(links, program, &input, until).await {
            Ok(changed) => return Ok(changed),
            Err(failure) if patience.endures_once(&failure).await => {}
            Err(failure) => return Err(failure.storage_error()),
        }
    }
}

async fn change_once(
    links: &Links,
    program: &'static str,
    input: &str,
    until: Instant,
) -> Result<bool, Failure> {
    let mut lease = links.take(until).await?;
    let output = lease.link().transact(program.into_sql_str(), input, until - ANSWER_LIMIT).await;
    lease.give_back();
    Ok(output? == "true")
}
