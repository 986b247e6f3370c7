//! Requests as clients write them.

use serde::Serialize;

use crate::arguments::{
    Auth, CleanUnused, Equivalence, GcMark, GcSweep, Nothing, Output, Remove, Report, Task, User, UserOrSelf,
    UserPermissions,
};

/// A request, to be written with [`encode_message`](crate::encode_message).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "named after the commands; see `Command` and `arguments`")]
pub enum Call<'a> {
    Ping(Nothing),
    Get(Task<'a>),
    GetOuthash(Output<'a>),
    GetStream(Nothing),
    ExistsStream(Nothing),
    Report(Report<'a>),
    ReportEquiv(Equivalence<'a>),
    GetStats(Nothing),
    ResetStats(Nothing),
    BackfillWait(Nothing),
    GetDbUsage(Nothing),
    GetDbQueryColumns(Nothing),
    Remove(Remove<'a>),
    CleanUnused(CleanUnused),
    GcMark(GcMark<'a>),
    GcMarkStream(Nothing),
    GcStatus(Nothing),
    GcSweep(GcSweep<'a>),
    Auth(Auth<'a>),
    GetUser(UserOrSelf<'a>),
    GetAllUsers(Nothing),
    BecomeUser(User<'a>),
    NewUser(UserPermissions<'a>),
    SetUserPerms(UserPermissions<'a>),
    RefreshToken(UserOrSelf<'a>),
    DeleteUser(UserOrSelf<'a>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Request};

    #[test]
    fn calls_bear_the_names_of_their_commands() {
        let user = || UserOrSelf::default();
        for (call, command) in [
            (Call::Ping(Nothing), Command::Ping),
            (Call::GetDbQueryColumns(Nothing), Command::GetDbQueryColumns),
            (Call::GcMarkStream(Nothing), Command::GcMarkStream),
            (Call::GetUser(user()), Command::GetUser),
            (Call::RefreshToken(user()), Command::RefreshToken),
        ] {
            let text = serde_json::to_string(&call).unwrap();
            assert_eq!(Request::parse(&text).unwrap().unwrap().command(), command, "{text}");
        }
    }
}
