//! A method for each command.

use std::collections::BTreeMap;
use std::time::Duration;

use hashserv_protocol::arguments::{
    CleanUnused, Equivalence, GcMark, GcSweep, Nothing, Output, Remove, Report, Task, UserOrSelf,
    UserPermissions, Where,
};
use hashserv_protocol::reply::{
    Alive, Backfill, Columns, Count, DbUsage, DeletedUser, GcStatus, NewToken, NewUser, Row, Stats,
    TaskUnihash, User, Users,
};
use hashserv_protocol::{Call, Text};

use crate::{Client, ClientError, Login};

/// Looking up and reporting. Cancelling any of these is safe for the client, see there.
impl Client {
    /// Returns the unihash of a task; `None` where the server knows none.
    pub async fn get(&mut self, method: &str, taskhash: &str) -> Result<Option<TaskUnihash>, ClientError> {
        let task = Task { method: method.into(), taskhash: taskhash.into(), all: false };
        self.call(&Call::Get(task)).await
    }

    /// Returns the oldest report of a task with its unihash; `None` where the server has no report of it.
    pub async fn get_row(&mut self, method: &str, taskhash: &str) -> Result<Option<Row>, ClientError> {
        let task = Task { method: method.into(), taskhash: taskhash.into(), all: true };
        self.call(&Call::Get(task)).await
    }

    /// Returns the oldest report of an output; `None` where there is none. `taskhash` does not restrict the search.
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
    pub async fn ping(&mut self) -> Result<(), ClientError> {
        self.call::<Alive>(&Call::Ping(Nothing)).await.map(|_| ())
    }

    /// Returns figures of requests since the server was started or the figures were reset.
    pub async fn stats(&mut self) -> Result<Stats, ClientError> {
        self.call(&Call::GetStats(Nothing)).await
    }

    /// Returns the figures and resets them. Not repeated.
    pub async fn reset_stats(&mut self) -> Result<Stats, ClientError> {
        self.call(&Call::ResetStats(Nothing)).await
    }
}

/// Maintenance of what is stored. Cancelling any of these is safe for the client, see there.
impl Client {
    /// Waits until the server has written what it got from its upstream, for
    /// [`maintenance_timeout`](crate::ClientOptions::maintenance_timeout) at most. Returns the number of entries
    /// that were still to be written at the time of the request.
    pub async fn backfill_wait(&mut self) -> Result<u64, ClientError> {
        self.call::<Backfill>(&Call::BackfillWait(Nothing)).await.map(|reply| reply.tasks)
    }

    /// Returns the number of rows of each table.
    pub async fn db_usage(&mut self) -> Result<BTreeMap<String, u64>, ClientError> {
        let reply: DbUsage = self.call(&Call::GetDbUsage(Nothing)).await?;
        Ok(reply.usage.into_iter().map(|(table, usage)| (table, usage.rows)).collect())
    }

    /// Returns the columns that conditions may name.
    pub async fn db_query_columns(&mut self) -> Result<Vec<String>, ClientError> {
        self.call::<Columns>(&Call::GetDbQueryColumns(Nothing)).await.map(|reply| reply.columns)
    }

    /// Removes the rows that match all conditions, and returns their number; none where there is no condition.
    /// Not repeated.
    pub async fn remove(&mut self, conditions: Where<'_>) -> Result<u64, ClientError> {
        self.call::<Count>(&Call::Remove(Remove { conditions })).await.map(|reply| reply.count)
    }

    /// Removes reports that are older than this and whose task has no unihash,
    /// and returns their number. Not repeated.
    pub async fn clean_unused(&mut self, max_age: Duration) -> Result<u64, ClientError> {
        self.call::<Count>(&Call::CleanUnused(CleanUnused { max_age_seconds: max_age.as_secs_f64() }))
            .await
            .map(|reply| reply.count)
    }

    /// Marks the unihashes that match all conditions, to be kept by a garbage collection, and returns their
    /// number.
    pub async fn gc_mark(&mut self, mark: &str, conditions: Where<'_>) -> Result<u64, ClientError> {
        self.call::<Count>(&Call::GcMark(GcMark { mark: mark.into(), conditions }))
            .await
            .map(|reply| reply.count)
    }

    /// Returns the progress of the garbage collection.
    pub async fn gc_status(&mut self) -> Result<GcStatus, ClientError> {
        self.call(&Call::GcStatus(Nothing)).await
    }

    /// Removes the unihashes that do not have the mark, which must be the current one, and returns their number.
    /// Not repeated.
    pub async fn gc_sweep(&mut self, mark: &str) -> Result<u64, ClientError> {
        self.call::<Count>(&Call::GcSweep(GcSweep { mark: mark.into() })).await.map(|reply| reply.count)
    }
}

/// Users. Cancelling any of these is safe for the client, see there.
impl Client {
    /// Returns a user, or the one that is logged in; `None` where there is no such user.
    pub async fn user(&mut self, username: Option<&str>) -> Result<Option<User>, ClientError> {
        self.call(&Call::GetUser(user_or_self(username))).await
    }

    /// Returns all users.
    pub async fn all_users(&mut self) -> Result<Vec<User>, ClientError> {
        self.call::<Users>(&Call::GetAllUsers(Nothing)).await.map(|reply| reply.users)
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
    pub async fn refresh_token(&mut self, username: Option<&str>) -> Result<Login, ClientError> {
        let reply: NewToken = self.call(&Call::RefreshToken(user_or_self(username))).await?;
        let fresh = Login { username: reply.username, token: reply.token };
        if let Some(login) = &mut self.options.login
            && login.username == fresh.username
        {
            *login = fresh.clone();
        }
        Ok(fresh)
    }

    /// Deletes a user, or the one that is logged in, and returns the name. Not repeated.
    pub async fn delete_user(&mut self, username: Option<&str>) -> Result<String, ClientError> {
        self.call::<DeletedUser>(&Call::DeleteUser(user_or_self(username))).await.map(|reply| reply.username)
    }
}

fn user_or_self(username: Option<&str>) -> UserOrSelf<'_> {
    UserOrSelf { username: username.map(Text::from) }
}

fn user_permissions<'a, S: AsRef<str>>(username: &'a str, permissions: &[S]) -> UserPermissions<'a> {
    let permissions = permissions.iter().map(AsRef::as_ref).collect();
    UserPermissions { username: username.into(), permissions }
}
