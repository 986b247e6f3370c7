//! Requests as clients write them.

use serde::Serialize;
use serde_json::Value;

use crate::arguments::{
    Auth, CleanUnused, Equivalence, GcMark, GcSweep, Nothing, Output, Remove, Report, Task, User, UserOrSelf,
    UserPermissions,
};
use crate::{Command, Repetition};

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

/// The column that `gc-mark` changes.
const MARK_COLUMN: &str = "gc_mark";

impl Call<'_> {
    /// The command that is called.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Call::Ping(_) => Command::Ping,
            Call::Get(_) => Command::Get,
            Call::GetOuthash(_) => Command::GetOuthash,
            Call::GetStream(_) => Command::GetStream,
            Call::ExistsStream(_) => Command::ExistsStream,
            Call::Report(_) => Command::Report,
            Call::ReportEquiv(_) => Command::ReportEquiv,
            Call::GetStats(_) => Command::GetStats,
            Call::ResetStats(_) => Command::ResetStats,
            Call::BackfillWait(_) => Command::BackfillWait,
            Call::GetDbUsage(_) => Command::GetDbUsage,
            Call::GetDbQueryColumns(_) => Command::GetDbQueryColumns,
            Call::Remove(_) => Command::Remove,
            Call::CleanUnused(_) => Command::CleanUnused,
            Call::GcMark(_) => Command::GcMark,
            Call::GcMarkStream(_) => Command::GcMarkStream,
            Call::GcStatus(_) => Command::GcStatus,
            Call::GcSweep(_) => Command::GcSweep,
            Call::Auth(_) => Command::Auth,
            Call::GetUser(_) => Command::GetUser,
            Call::GetAllUsers(_) => Command::GetAllUsers,
            Call::BecomeUser(_) => Command::BecomeUser,
            Call::NewUser(_) => Command::NewUser,
            Call::SetUserPerms(_) => Command::SetUserPerms,
            Call::RefreshToken(_) => Command::RefreshToken,
            Call::DeleteUser(_) => Command::DeleteUser,
        }
    }

    /// Reports whether the request may be sent again after the connection was lost before the reply arrived.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match self {
            Call::GcMark(mark) => mark.is_repeatable(),
            call => match call.command().repetition() {
                Repetition::Harmless | Repetition::HarmlessUnlessConditionOnMark => true,
                Repetition::Harmful => false,
            },
        }
    }
}

impl GcMark<'_> {
    /// Reports whether marking again marks, and counts, the same: no condition is on the mark itself.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.conditions.get(MARK_COLUMN).is_none_or(Value::is_null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Request;

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
            assert_eq!(call.command(), command);
        }
    }

    #[test]
    fn marking_by_the_mark_is_not_repeatable() {
        for (conditions, repeatable) in [
            (r#"{"unihash": "u"}"#, true),
            (r#"{"unihash": "u", "gc_mark": null}"#, true),
            (r#"{"unihash": "u", "gc_mark": "old"}"#, false),
        ] {
            let conditions = serde_json::from_str(conditions).unwrap();
            let call = Call::GcMark(GcMark { mark: "M".into(), conditions });
            assert_eq!(call.is_repeatable(), repeatable, "{call:?}");
        }
        assert!(!Call::RefreshToken(UserOrSelf::default()).is_repeatable());
        assert!(Call::GcStatus(Nothing).is_repeatable());
    }
}
