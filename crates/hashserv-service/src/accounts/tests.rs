use super::*;
use crate::testing::{begin_and_drop, eventually, slow_storage};

/// Alice, who may do nothing of her own, and is logged in.
async fn alice(accounts: &Accounts) -> Caller {
    let token = accounts.create_user("alice", Permissions::NONE).await.unwrap();
    accounts.log_in("alice", &token).await.unwrap().0
}

/// Deletes the user and makes another one of the same name, who gets this token.
async fn make_anew(accounts: &Accounts, name: &str) -> Token {
    let user = accounts.user(name).await.unwrap().unwrap();
    accounts.delete_user(&user).await.unwrap();
    accounts.create_user(name, Permissions::NONE).await.unwrap()
}

fn assert_no_such_user<T: std::fmt::Debug>(result: Result<T, ServiceError>) {
    assert!(matches!(result, Err(ServiceError::NoSuchUser(_))), "{result:?}");
}

#[tokio::test]
async fn who_was_deleted_is_not_taken_for_a_new_user_of_the_same_name() {
    let accounts = Accounts::new(slow_storage().await, Permissions::READ);
    // Another server on the same database, which tells this one nothing.
    let elsewhere = Accounts::new(accounts.storage.clone(), Permissions::NONE);
    let alice = alice(&accounts).await;
    for maker in [&elsewhere, &accounts] {
        make_anew(maker, "alice").await;
        for name in [None, Some("alice")] {
            let mut alice = alice.clone();
            assert_no_such_user(accounts.require_self_or_user_admin(&mut alice, name).await);
            assert_eq!(alice.reporter(), None);
        }
    }
    let mut reporting = alice.clone();
    accounts.require(&mut reporting, Permissions::READ).await.unwrap();
    assert_eq!((alice.reporter(), reporting.reporter()), (Some("alice"), None));
}

#[tokio::test]
async fn a_user_made_anew_between_check_and_change_is_left_alone() {
    let accounts = Accounts::new(slow_storage().await, Permissions::READ);
    let mut alice = alice(&accounts).await;
    let old = accounts.require_self_or_user_admin(&mut alice, None).await.unwrap();
    let token = make_anew(&accounts, "alice").await;
    assert_no_such_user(accounts.refresh_token(&old).await);
    assert_no_such_user(accounts.delete_user(&old).await);
    accounts.log_in("alice", &token).await.unwrap();
}

#[tokio::test]
async fn permissions_taken_after_the_caller_has_gone_are_lost_too() {
    let storage = slow_storage().await;
    let accounts = Accounts::new(storage.clone(), Permissions::NONE);
    for deletes in [false, true] {
        let token = accounts.create_user("alice", Permissions::READ).await.unwrap();
        let (mut alice, user) = accounts.log_in("alice", &token).await.unwrap();
        storage.hindrance().hold();
        if deletes {
            begin_and_drop(&storage, accounts.delete_user(&user)).await;
        } else {
            begin_and_drop(&storage, accounts.set_permissions("alice", Permissions::NONE)).await;
        }
        assert!(accounts.has(&mut alice, Permissions::READ).await.unwrap());
        storage.hindrance().let_go();
        let lost = async || !accounts.has(&mut alice, Permissions::READ).await.unwrap();
        eventually("she may not read any more", lost).await;
        if !deletes {
            accounts.delete_user(&user).await.unwrap();
        }
    }
}
