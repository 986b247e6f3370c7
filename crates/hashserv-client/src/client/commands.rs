//! A method for each command.

use hashserv_protocol::arguments::{
    CleanUnused, Equivalence, GcMark, GcSweep, Nothing, Output, Remove, Report, Task, UserOrSelf,
    UserPermissions, Where,
};
use hashserv_protocol::reply::{
    Alive, Backfill, Columns, Count, DbUsage, DeletedUser, GcStatus, NewToken, NewUser, Row, Stats,
    TaskUnihash, User, Users,
};
use hashserv_protocol::{Call, Text};

use crate::{Client, ClientError};

/// Looking up and reporting. Cancelling any of these is safe for the client, see there.
impl Client {
    /// The unihash of a task; `None` where the server knows none.
    pub async fn get(&mut self, method: &str, taskhash: &str) -> Result<Option<TaskUnihash>, ClientError> {
        let task = Task { method: method.into(), taskhash: taskhash.into(), all: false };
        self.call(&Call::Get(task)).await
    }

    /// The oldest report of a task with its unihash; `None` where the server has no report of it.
    pub async fn get_row(&mut self, method: &str, taskhash: &str) -> Result<Option<Row>, ClientError> {
        let task = Task { method: method.into(), taskhash: taskhash.into(), all: true };
        self.call(&Call::Get(task)).await
    }

    /// The oldest report of an output; `None` where there is none. `taskhash` does not restrict the search.
    /// Without `with_unihash` the row has no unihash, and reports count whose task has none.
    pub async fn get_outhash(
        &mut self,
        method: &str,
        outhash: &str,
        taskhash: &str,
        with_unihash: bool,
    ) -> Result<Option<Row>, ClientError> {
        let output = Output {
            method: method.into(),
            outhash: outhash.into(),
            taskhash: taskhash.into(),
            with_unihash,
        };
        self.call(&Call::GetOuthash(output)).await
    }

    /// Reports what a task produced. The reply has the unihash that the task has now, which need not be the
    /// reported one.
    pub async fn report(&mut self, report: Report<'_>) -> Result<TaskUnihash, ClientError> {
        self.call(&Call::Report(report)).await
    }

    /// Reports the unihash of a task. The reply has the one that it has now: the first that was reported.
    pub async fn report_equiv(
        &mut self,
        method: &str,
        taskhash: &str,
        unihash: &str,
    ) -> Result<TaskUnihash, ClientError> {
        let equivalence =
            Equivalence { taskhash: taskhash.into(), method: method.into(), unihash: unihash.into() };
        self.call(&Call::ReportEquiv(equivalence)).await
    }

    /// Asks for a sign of life.
    pub async fn ping(&mut self) -> Result<Alive, ClientError> {
        self.call(&Call::Ping(Nothing)).await
    }

    /// Figures of requests since the server was started or the figures were reset.
    pub async fn stats(&mut self) -> Result<Stats, ClientError> {
        self.call(&Call::GetStats(Nothing)).await
    }

    /// The figures, as they were before this call resets them. Not repeated.
    pub async fn reset_stats(&mut self) -> Result<Stats, ClientError> {
        self.call(&Call::ResetStats(Nothing)).await
    }
}

/// Maintenance of what is stored. Cancelling any of these is safe for the client, see there.
impl Client {
    /// Waits until the server has written what it got from its upstream, for
    /// [`maintenance_timeout`](crate::ClientOptions::maintenance_timeout) at most.
    pub async fn backfill_wait(&mut self) -> Result<Backfill, ClientError> {
        self.call(&Call::BackfillWait(Nothing)).await
    }

    /// How many rows each table has.
    pub async fn db_usage(&mut self) -> Result<DbUsage, ClientError> {
        self.call(&Call::GetDbUsage(Nothing)).await
    }

    /// The names that conditions may use.
    pub async fn db_query_columns(&mut self) -> Result<Columns, ClientError> {
        self.call(&Call::GetDbQueryColumns(Nothing)).await
    }

    /// Removes the rows that match all conditions; none where there is no condition. Not repeated.
    pub async fn remove(&mut self, conditions: Where<'_>) -> Result<Count, ClientError> {
        self.call(&Call::Remove(Remove { conditions })).await
    }

    /// Removes reports that are older than this many seconds and whose task has no unihash. Not repeated.
    pub async fn clean_unused(&mut self, max_age_seconds: f64) -> Result<Count, ClientError> {
        self.call(&Call::CleanUnused(CleanUnused { max_age_seconds })).await
    }

    /// Marks the unihashes that match all conditions, to be kept by a garbage collection.
    pub async fn gc_mark(&mut self, mark: &str, conditions: Where<'_>) -> Result<Count, ClientError> {
        self.call(&Call::GcMark(GcMark { mark: mark.into(), conditions })).await
    }

    /// How far a garbage collection is.
    pub async fn gc_status(&mut self) -> Result<GcStatus, ClientError> {
        self.call(&Call::GcStatus(Nothing)).await
    }

    /// Removes the unihashes that do not have the mark, which must be the current one. Not repeated.
    pub async fn gc_sweep(&mut self, mark: &str) -> Result<Count, ClientError> {
        self.call(&Call::GcSweep(GcSweep { mark: mark.into() })).await
    }
}

/// Users. Cancelling any of these is safe for the client, see there.
impl Client {
    /// A user, or who is logged in; `None` where there is no such user.
    pub async fn user(&mut self, username: Option<&str>) -> Result<Option<User>, ClientError> {
        self.call(&Call::GetUser(user_or_self(username))).await
    }

    /// All users.
    pub async fn all_users(&mut self) -> Result<Users, ClientError> {
        self.call(&Call::GetAllUsers(Nothing)).await
    }

    /// Creates a user with these permissions. The reply has the token, which is told this once. Not repeated.
    pub async fn new_user<S: AsRef<str>>(
        &mut self,
        username: &str,
        permissions: &[S],
    ) -> Result<NewUser, ClientError> {
        self.call(&Call::NewUser(user_permissions(username, permissions))).await
    }

    /// Gives a user these permissions, and no others.
    pub async fn set_user_permissions<S: AsRef<str>>(
        &mut self,
        username: &str,
        permissions: &[S],
    ) -> Result<User, ClientError> {
        self.call(&Call::SetUserPerms(user_permissions(username, permissions))).await
    }

    /// Gives a user, or who is logged in, a new token, which is told this once; the old one is void. Later
    /// connections of a client that refreshed its own token log in with the new one. Not repeated.
    pub async fn refresh_token(&mut self, username: Option<&str>) -> Result<NewToken, ClientError> {
        let reply: NewToken = self.call(&Call::RefreshToken(user_or_self(username))).await?;
        self.replace_token(&reply);
        Ok(reply)
    }

    /// Deletes a user, or who is logged in. Not repeated.
    pub async fn delete_user(&mut self, username: Option<&str>) -> Result<DeletedUser, ClientError> {
        self.call(&Call::DeleteUser(user_or_self(username))).await
    }

    fn replace_token(&mut self, new: &NewToken) {
        if let Some((username, token)) = &mut self.options.login
            && *username == new.username
        {
            token.clone_from(&new.token);
        }
    }
}

fn user_or_self(username: Option<&str>) -> UserOrSelf<'_> {
    UserOrSelf { username: username.map(Text::from) }
}

fn user_permissions<'a, S: AsRef<str>>(username: &'a str, permissions: &[S]) -> UserPermissions<'a> {
    let permissions = permissions.iter().map(AsRef::as_ref).collect();
    UserPermissions { username: username.into(), permissions }
}
