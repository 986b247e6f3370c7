//! Users, tokens, permissions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashserv_storage::{NewUser, Storage, StorageError, UserRecord};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{sleep, timeout};

use crate::caller::LoggedIn;
use crate::throttle::Throttle;
use crate::to_the_end::to_the_end;
use crate::{Caller, Denial, Failure, Permissions, ServiceError, Token};

/// Pause before a failed login is answered.
pub const LOGIN_FAILURE_DELAY: Duration = Duration::from_secs(1);

/// Ten tokens a second are handed out over the whole server.
const TOKEN_PAUSE: Duration = Duration::from_millis(100);

/// Longest wait for a token, measured from the call.
const MAX_TOKEN_WAIT: Duration = Duration::from_secs(10);

/// Longest wait for another change that takes the right to manage users away, measured from the call.
const ADMINISTRATION_DEADLINE: Duration = Duration::from_secs(10);

/// Knows users and decides what callers may do.
///
/// Permissions of a caller are those at its login, read again whenever accounts change through this value. A
/// caller whose account was deleted has none of its own, not even if the name was made anew.
///
/// # Cancellation
///
/// Every method may be dropped at any time. A change that was begun is made nevertheless, and holds for all
/// callers from then on; a token that nobody was told is lost.
#[derive(Debug)]
pub struct Accounts {
    storage: Arc<dyn Storage>,
    anonymous: Permissions,
    tokens: Throttle,
    /// Counts the changes to accounts through this value.
    generation: Arc<AtomicU64>,
    /// Held by changes that take the right to manage users away: two administrators cannot remove each other.
    administration: Arc<Mutex<()>>,
}

/// Makes every caller's permissions be read again when a change has ended, however it ended.
struct Change(Arc<AtomicU64>);

impl Drop for Change {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// The administrator that a server makes sure of when it starts.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The name to log in with.
    pub name: String,
    /// The password, which becomes the user's token.
    pub password: Token,
}

/// What is told of a user. It stands for that account: one of the same name that was made anew is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    id: i64,
    /// The user's name.
    pub name: String,
    /// The user's permissions.
    pub permissions: Permissions,
}

impl From<UserRecord> for UserInfo {
    fn from(record: UserRecord) -> Self {
        let permissions = Permissions::from_stored(&record.permissions);
        UserInfo { id: record.id, name: record.name, permissions }
    }
}

impl Accounts {
    pub(crate) fn new(storage: Arc<dyn Storage>, anonymous: Permissions) -> Self {
        let tokens = Throttle::new(TOKEN_PAUSE, MAX_TOKEN_WAIT);
        Accounts { storage, anonymous, tokens, generation: Arc::default(), administration: Arc::default() }
    }

    /// Makes sure that the administrator exists, has every permission, and the password as token.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn ensure_admin(&self, admin: &Admin) -> Result<(), ServiceError> {
        // An administrator that is there already needs no write, which a full disk would refuse.
        if let Some(stored) = self.storage.user(&admin.name).await?
            && Permissions::from_stored(&stored.permissions) == Permissions::ALL
            && admin.password.matches(&stored.token_hash)
        {
            return Ok(());
        }
        let user = NewUser {
            name: admin.name.clone(),
            token_hash: admin.password.to_stored_hash(),
            permissions: Permissions::ALL.to_stored(),
        };
        self.change(|storage| async move { storage.put_user(user).await }).await
    }

    /// Logs in.
    ///
    /// # Errors
    ///
    /// [`Denial::LoginFailed`], after a second, whether the name or the token is wrong;
    /// [`Failure::Storage`] where the database fails.
    pub async fn log_in(&self, name: &str, token: &Token) -> Result<(Caller, UserInfo), ServiceError> {
        let generation = self.generation.load(Ordering::Acquire);
        let record = self.storage.user(name).await?;
        // The token is checked for unknown users too, so that both take the same time.
        let stored = record.as_ref().map_or("sha256::", |record| &record.token_hash);
        match (token.matches(stored), record) {
            (true, Some(record)) => {
                let caller = caller_of(&record, generation);
                Ok((caller, record.into()))
            }
            _ => {
                sleep(LOGIN_FAILURE_DELAY).await;
                Err(Denial::LoginFailed(name.to_owned()).into())
            }
        }
    }

    /// Makes sure that the caller has the permissions, those of anonymous users counted.
    ///
    /// # Errors
    ///
    /// [`Denial::NotAllowed`], [`Failure::Storage`] where the database fails.
    pub async fn require(&self, caller: &mut Caller, needed: Permissions) -> Result<(), ServiceError> {
        let granted = self.permissions_of(caller).await? | self.anonymous;
        if granted.contains(needed) { Ok(()) } else { Err(not_allowed(caller, needed).into()) }
    }

    /// Whether the caller has the permissions, those of anonymous users counted.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn has(&self, caller: &mut Caller, wanted: Permissions) -> Result<bool, ServiceError> {
        Ok((self.permissions_of(caller).await? | self.anonymous).contains(wanted))
    }

    /// Makes sure that the caller may manage users. What anonymous users may does not count here.
    ///
    /// # Errors
    ///
    /// [`Denial::NotAllowed`], [`Failure::Storage`] where the database fails.
    pub async fn require_user_admin(&self, caller: &mut Caller) -> Result<(), ServiceError> {
        if self.permissions_of(caller).await?.contains(Permissions::USER_ADMIN) {
            Ok(())
        } else {
            Err(not_allowed(caller, Permissions::USER_ADMIN).into())
        }
    }

    /// Makes sure that the caller may manage the user of that name, or itself where there is no name or its
    /// own; tells what is known of that user. A caller whose account was deleted finds none of its name.
    ///
    /// # Errors
    ///
    /// [`Denial::NotAllowed`], [`Denial::NobodyLoggedIn`], [`Denial::NoSuchUser`],
    /// [`Failure::Storage`] where the database fails.
    pub async fn require_self_or_user_admin(
        &self,
        caller: &mut Caller,
        name: Option<&str>,
    ) -> Result<UserInfo, ServiceError> {
        if let Some(own) = caller.user_name().filter(|own| name.is_none_or(|name| name == *own)) {
            let gone = Denial::NoSuchUser(own.to_owned());
            return self.read_again(caller).await?.map(UserInfo::from).ok_or(gone.into());
        }
        self.require_user_admin(caller).await?;
        self.existing_user(name.ok_or(Denial::NobodyLoggedIn)?).await
    }

    /// Makes the caller act as another user from now on.
    ///
    /// # Errors
    ///
    /// [`Denial::CannotBecome`] where there is no such user, [`Failure::Storage`] where the
    /// database fails.
    pub async fn become_user(&self, caller: &mut Caller, name: &str) -> Result<UserInfo, ServiceError> {
        let generation = self.generation.load(Ordering::Acquire);
        let record = self.storage.user(name).await?.ok_or_else(|| Denial::CannotBecome(name.to_owned()))?;
        *caller = caller_of(&record, generation);
        Ok(record.into())
    }

    /// What is known of a user.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn user(&self, name: &str) -> Result<Option<UserInfo>, ServiceError> {
        Ok(self.storage.user(name).await?.map(UserInfo::from))
    }

    /// What is known of all users, by name.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn users(&self) -> Result<Vec<UserInfo>, ServiceError> {
        Ok(self.storage.users().await?.into_iter().map(UserInfo::from).collect())
    }

    /// Returns a new token, which is nobody's yet, once it is the caller's turn to get one.
    ///
    /// # Errors
    ///
    /// [`Failure::TooManyTokens`] where that takes too long.
    ///
    /// # Cancellation
    ///
    /// May be dropped at any time: the turn goes to the next caller.
    pub async fn new_token(&self, caller: &Caller) -> Result<Token, Failure> {
        // Callers who have not logged in have no use for a token; all of them are one user.
        let user = caller.user.as_ref().map_or(0, |user| user.id);
        if self.tokens.pass(user).await { Ok(Token::random()) } else { Err(Failure::TooManyTokens) }
    }

    /// Makes a user who logs in with the token.
    ///
    /// # Errors
    ///
    /// [`Denial::CannotCreateUser`] where the name is taken or empty, [`Failure::Storage`] where the database
    /// fails: it is not known then whether there is such a user.
    pub async fn create_user(
        &self,
        name: &str,
        permissions: Permissions,
        token: &Token,
    ) -> Result<(), ServiceError> {
        if name.is_empty() {
            return Err(Denial::CannotCreateUser(name.to_owned()).into());
        }
        let user = NewUser {
            name: name.to_owned(),
            token_hash: token.to_stored_hash(),
            permissions: permissions.to_stored(),
        };
        if self.change(|storage| async move { storage.create_user(user).await }).await? {
            Ok(())
        } else {
            Err(Denial::CannotCreateUser(name.to_owned()).into())
        }
    }

    /// Sets what a user may do; tells what is known of that user then.
    ///
    /// # Errors
    ///
    /// [`Denial::NoSuchUser`], [`Denial::LastAdministrator`] where nobody could manage users then,
    /// [`Failure::Storage`] where the database fails.
    pub async fn set_permissions(
        &self,
        name: &str,
        permissions: Permissions,
    ) -> Result<UserInfo, ServiceError> {
        let user = self.existing_user(name).await?;
        let stored = permissions.to_stored();
        let guard = self.keep_an_administrator(&user, permissions).await?;
        let set = |storage: Arc<dyn Storage>, id| async move { storage.set_permissions(id, &stored).await };
        self.change_user(&user, guard, set).await?;
        Ok(UserInfo { permissions, ..user })
    }

    /// Gives a user another token; the old one is void.
    ///
    /// # Errors
    ///
    /// [`Denial::NoSuchUser`] where the account is gone, [`Failure::Storage`] where the database fails: it is not
    /// known then which token counts.
    pub async fn set_token(&self, user: &UserInfo, token: &Token) -> Result<(), ServiceError> {
        let hash = token.to_stored_hash();
        self.change_user(user, None, |storage, id| async move { storage.set_token(id, &hash).await }).await
    }

    /// Removes a user.
    ///
    /// # Errors
    ///
    /// [`Denial::NoSuchUser`] where the account is gone, [`Denial::LastAdministrator`] where nobody could manage
    /// users then, [`Failure::Storage`] where the database fails.
    pub async fn delete_user(&self, user: &UserInfo) -> Result<(), ServiceError> {
        let guard = self.keep_an_administrator(user, Permissions::NONE).await?;
        self.change_user(user, guard, |storage, id| async move { storage.delete_user(id).await }).await
    }

    /// Makes sure that somebody may manage users once the user has these permissions. What is returned is to be
    /// held during the change. Other servers on the database are not waited for.
    async fn keep_an_administrator(
        &self,
        user: &UserInfo,
        permissions: Permissions,
    ) -> Result<Option<OwnedMutexGuard<()>>, ServiceError> {
        let manages = |permissions: Permissions| permissions.contains(Permissions::USER_ADMIN);
        if !manages(user.permissions) || manages(permissions) {
            return Ok(None);
        }
        let guard = timeout(ADMINISTRATION_DEADLINE, self.administration.clone().lock_owned()).await;
        let guard = guard.map_err(|_| StorageError::Timeout("waiting for another change of users".into()))?;
        let users = self.users().await?;
        if users.iter().any(|other| other.id != user.id && manages(other.permissions)) {
            Ok(Some(guard))
        } else {
            Err(Denial::LastAdministrator(user.name.clone()).into())
        }
    }

    async fn existing_user(&self, name: &str) -> Result<UserInfo, ServiceError> {
        Ok(self.user(name).await?.ok_or_else(|| Denial::NoSuchUser(name.to_owned()))?)
    }

    /// Makes a change to the account of this id, which tells whether there is one; holds `guard` until it has ended.
    async fn change_user<F>(
        &self,
        user: &UserInfo,
        guard: Option<OwnedMutexGuard<()>>,
        work: impl FnOnce(Arc<dyn Storage>, i64) -> F,
    ) -> Result<(), ServiceError>
    where
        F: Future<Output = Result<bool, StorageError>> + Send + 'static,
    {
        let change = (Change(self.generation.clone()), guard);
        let done = to_the_end(change, work(self.storage.clone(), user.id)).await?;
        if done { Ok(()) } else { Err(Denial::NoSuchUser(user.name.clone()).into()) }
    }

    /// Makes a change, even if the caller goes away.
    async fn change<T, F>(&self, work: impl FnOnce(Arc<dyn Storage>) -> F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        Ok(to_the_end(Change(self.generation.clone()), work(self.storage.clone())).await?)
    }

    /// The permissions that the caller has of its own, read again if accounts have changed.
    async fn permissions_of(&self, caller: &mut Caller) -> Result<Permissions, ServiceError> {
        let generation = self.generation.load(Ordering::Acquire);
        if caller.user.as_ref().is_some_and(|user| user.generation != generation) {
            self.read_again(caller).await?;
        }
        Ok(caller.user.as_ref().and_then(|user| user.permissions).unwrap_or(Permissions::NONE))
    }

    /// Reads the caller's account again, if it is still there.
    async fn read_again(&self, caller: &mut Caller) -> Result<Option<UserRecord>, ServiceError> {
        let Some(user) = &mut caller.user else { return Ok(None) };
        let generation = self.generation.load(Ordering::Acquire);
        let record = self.storage.user(&user.name).await?.filter(|record| record.id == user.id);
        user.permissions = record.as_ref().map(|record| Permissions::from_stored(&record.permissions));
        user.generation = generation;
        Ok(record)
    }
}

fn caller_of(record: &UserRecord, generation: u64) -> Caller {
    let permissions = Some(Permissions::from_stored(&record.permissions));
    Caller { user: Some(LoggedIn { id: record.id, name: record.name.clone(), permissions, generation }) }
}

fn not_allowed(caller: &Caller, needed: Permissions) -> Denial {
    Denial::NotAllowed { who: caller.title().to_owned(), needed }
}

#[cfg(test)]
mod tests;
