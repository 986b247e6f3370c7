//! Changes of accounts.

use hashserv_storage::{NewUser, StorageError};
use sqlx::SqlSafeStr as _;

use super::transaction::transaction;
use super::writer::{Statements, Writer};
use crate::queue::Queue;

const CREATE: &str = transaction!(
    "INSERT INTO users (username, token, permissions) VALUES (?1, ?2, ?3) ON CONFLICT (username) DO NOTHING; \
     SELECT json_array(changes())"
);

const PUT: &str = transaction!(
    "INSERT INTO users (username, token, permissions) VALUES (?1, ?2, ?3) \
     ON CONFLICT (username) DO UPDATE SET token = excluded.token, permissions = excluded.permissions; \
     SELECT json_array(changes())"
);

const SET_PERMISSIONS: &str =
    transaction!("UPDATE users SET permissions = ?2 WHERE id = ?1; SELECT json_array(changes())");

const SET_TOKEN: &str =
    transaction!("UPDATE users SET token = ?2 WHERE id = ?1; SELECT json_array(changes())");

const DELETE: &str = transaction!("DELETE FROM users WHERE id = ?1; SELECT json_array(changes())");

pub(crate) async fn create(writer: &Queue<Writer>, user: NewUser) -> Result<bool, StorageError> {
    change(writer, CREATE, vec![user.name, user.token_hash, user.permissions]).await
}

pub(crate) async fn put(writer: &Queue<Writer>, user: NewUser) -> Result<(), StorageError> {
    change(writer, PUT, vec![user.name, user.token_hash, user.permissions]).await.map(|_| ())
}

pub(crate) async fn set_permissions(
    writer: &Queue<Writer>,
    id: i64,
    permissions: &str,
) -> Result<bool, StorageError> {
    change(writer, SET_PERMISSIONS, vec![id.to_string(), permissions.to_owned()]).await
}

pub(crate) async fn set_token(
    writer: &Queue<Writer>,
    id: i64,
    token_hash: &str,
) -> Result<bool, StorageError> {
    change(writer, SET_TOKEN, vec![id.to_string(), token_hash.to_owned()]).await
}

pub(crate) async fn delete(writer: &Queue<Writer>, id: i64) -> Result<bool, StorageError> {
    change(writer, DELETE, vec![id.to_string()]).await
}

/// Whether the statement changed an account.
async fn change(
    writer: &Queue<Writer>,
    sql: &'static str,
    arguments: Vec<String>,
) -> Result<bool, StorageError> {
    let changed = writer.run(Statements { sql: sql.into_sql_str(), arguments }).await?;
    Ok(changed.first().is_some_and(|rows| *rows > 0))
}
