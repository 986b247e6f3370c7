//! Accounts.

use super::samples::ODD_TEXTS;
use super::{TestDatabase, TestResult};
use crate::{NewUser, Storage};

fn user(name: &str, token_hash: &str, permissions: &str) -> NewUser {
    NewUser { name: name.to_owned(), token_hash: token_hash.to_owned(), permissions: permissions.to_owned() }
}

async fn assert_no_account(storage: &dyn Storage, id: i64) -> TestResult {
    assert!(!storage.set_permissions(id, "@read").await?);
    assert!(!storage.set_token(id, "other").await?);
    assert!(!storage.delete_user(id).await?);
    Ok(())
}

pub async fn accounts_are_created_once_and_kept_apart_by_name(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    assert!(storage.user("u").await?.is_none());
    assert!(storage.users().await?.is_empty());
    let mut names: Vec<&str> = ODD_TEXTS.into_iter().chain(["User", "user"]).collect();
    for name in &names {
        assert!(storage.create_user(user(name, name, "@read @report")).await?, "{name:?}");
        assert!(!storage.create_user(user(name, "other", "")).await?, "{name:?}");
        let found = storage.user(name).await?.expect("just created");
        assert_eq!((found.name.as_str(), found.token_hash.as_str()), (*name, *name));
        assert_eq!(found.permissions, "@read @report");
    }
    let found: Vec<String> = storage.users().await?.into_iter().map(|user| user.name).collect();
    names.sort_unstable();
    assert_eq!(found, names, "ordered by the bytes of the name");
    Ok(())
}

pub async fn accounts_are_changed_only_where_they_exist(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    assert_no_account(&*storage, 1).await?;
    storage.create_user(user("u", "t1", "")).await?;
    storage.create_user(user("v", "t1", "")).await?;
    let id = storage.user("u").await?.expect("there").id;
    assert!(storage.set_permissions(id, "@read").await?);
    assert!(storage.set_permissions(id, "@read").await?, "the same again is a success too");
    assert!(storage.set_token(id, "t2").await?);
    let found = storage.user("u").await?.expect("there");
    assert_eq!((found.token_hash.as_str(), found.permissions.as_str()), ("t2", "@read"));
    let other = storage.user("v").await?.expect("there");
    assert_eq!((other.token_hash.as_str(), other.permissions.as_str()), ("t1", ""));
    assert!(storage.delete_user(id).await?);
    assert!(storage.user("u").await?.is_none());
    assert_eq!(storage.users().await?.len(), 1);
    Ok(())
}

pub async fn putting_an_account_creates_or_replaces_it(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.put_user(user("admin", "t1", "@all")).await?;
    let first = storage.user("admin").await?.expect("there");
    storage.put_user(user("admin", "t2", "@read")).await?;
    let second = storage.user("admin").await?.expect("there");
    assert_eq!(first.id, second.id);
    assert_eq!((second.token_hash.as_str(), second.permissions.as_str()), ("t2", "@read"));
    assert_eq!(storage.users().await?.len(), 1);
    Ok(())
}

pub async fn a_name_made_anew_is_another_account(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.create_user(user("u", "t", "")).await?;
    let first = storage.user("u").await?.expect("there");
    storage.delete_user(first.id).await?;
    storage.create_user(user("u", "t", "")).await?;
    let second = storage.user("u").await?.expect("there");
    assert_ne!(first.id, second.id);
    assert_no_account(&*storage, first.id).await?;
    assert_eq!(storage.user("u").await?, Some(second));
    Ok(())
}
