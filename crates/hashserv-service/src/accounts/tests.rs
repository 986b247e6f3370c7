use super::*;
use crate::testing::{begin_and_drop, eventually, slow_storage};

/// Makes a user, and returns the token.
async fn create(accounts: &Accounts, name: &str, permissions: Permissions) -> Token {
    let token = Token::random();
    accounts.create_user(name, permissions, &token).await.unwrap();
    token
}

/// Alice, who may do nothing of her own, and is logged in.
async fn alice(accounts: &Accounts) -> Caller {
    let token = create(accounts, "alice", Permissions::NONE).await;
    accounts.log_in("alice", &token).await.unwrap().0
}

/// Deletes the user and makes another one of the same name, who gets this token.
async fn make_anew(accounts: &Accounts, name: &str) -> Token {
    let user = accounts.user(name).await.unwrap().unwrap();
    accounts.delete_user(&user).await.unwrap();
    create(accounts, name, Permissions::NONE).await
}

fn assert_no_such_user<T: std::fmt::Debug>(result: Result<T, ServiceError>) {
    assert!(matches!(result, Err(ServiceError::Denied(Denial::NoSuchUser(_)))), "{result:?}");
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
    assert_no_such_user(accounts.set_token(&old, &Token::random()).await);
    assert_no_such_user(accounts.delete_user(&old).await);
    accounts.log_in("alice", &token).await.unwrap();
}

#[tokio::test]
async fn permissions_taken_after_the_caller_has_gone_are_lost_too() {
    let storage = slow_storage().await;
    let accounts = Accounts::new(storage.clone(), Permissions::NONE);
    for deletes in [false, true] {
        let token = create(&accounts, "alice", Permissions::READ).await;
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

fn assert_last_administrator<T: std::fmt::Debug>(result: Result<T, ServiceError>) {
    assert!(matches!(result, Err(ServiceError::Denied(Denial::LastAdministrator(_)))), "{result:?}");
}

#[tokio::test]
async fn last_administrator_stays_one() {
    let accounts = Accounts::new(slow_storage().await, Permissions::READ);
    let user = async |name| accounts.user(name).await.unwrap().unwrap();
    create(&accounts, "root", Permissions::ALL).await;
    create(&accounts, "alice", Permissions::READ).await;
    assert_last_administrator(accounts.delete_user(&user("root").await).await);
    assert_last_administrator(accounts.set_permissions("root", Permissions::DB_ADMIN).await);
    assert_eq!(user("root").await.permissions, Permissions::ALL);
    accounts.set_permissions("root", Permissions::USER_ADMIN).await.unwrap();
    accounts.set_permissions("alice", Permissions::USER_ADMIN).await.unwrap();
    accounts.set_permissions("root", Permissions::NONE).await.unwrap();
    accounts.delete_user(&user("root").await).await.unwrap();
    assert_last_administrator(accounts.delete_user(&user("alice").await).await);
}

#[tokio::test]
async fn two_administrators_do_not_remove_each_other() {
    let storage = slow_storage().await;
    let accounts = Accounts::new(storage.clone(), Permissions::NONE);
    create(&accounts, "one", Permissions::ALL).await;
    create(&accounts, "other", Permissions::ALL).await;
    let one = accounts.user("one").await.unwrap().unwrap();
    storage.hindrance().hold();
    begin_and_drop(&storage, accounts.delete_user(&one)).await;
    // The first change goes on although its caller has gone.
    let second = accounts.set_permissions("other", Permissions::NONE);
    let let_go = async {
        tokio::task::yield_now().await;
        storage.hindrance().let_go();
    };
    let (second, ()) = tokio::join!(second, let_go);
    assert_last_administrator(second);
}
