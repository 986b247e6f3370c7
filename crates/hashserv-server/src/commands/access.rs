//! Permissions that commands need.

use hashserv_protocol::Access;
use hashserv_service::{Accounts, Caller, Permissions};

use crate::refusal::Fault;

/// Checks that the caller has the permissions that a command needs.
pub(crate) async fn check_access(
    accounts: &Accounts,
    caller: &mut Caller,
    access: Access,
) -> Result<(), Fault> {
    match access {
        // The handler checks the latter: the user stands among the arguments.
        Access::Anyone | Access::SelfOrUserAdmin => {}
        Access::Read => accounts.require(caller, Permissions::READ).await?,
        Access::ReadAndReport => accounts.require(caller, Permissions::READ | Permissions::REPORT).await?,
        Access::DatabaseAdmin => accounts.require(caller, Permissions::DB_ADMIN).await?,
        Access::UserAdmin => accounts.require_user_admin(caller).await?,
    }
    Ok(())
}
