//! What the client has to know of the calls.

use hashserv_protocol::Call;

/// Whether a call that was sent and got no reply may be sent again: doing it twice must come to the same, and
/// the second reply must tell what the first would have told.
pub(crate) fn is_repeatable(call: &Call<'_>) -> bool {
    !matches!(
        call,
        Call::Remove(_)
            | Call::CleanUnused(_)
            | Call::GcSweep(_)
            | Call::ResetStats(_)
            | Call::NewUser(_)
            | Call::RefreshToken(_)
            | Call::DeleteUser(_)
    )
}

/// Whether the time that a call takes depends on how much the server has stored, or has to wait for.
pub(crate) fn is_maintenance(call: &Call<'_>) -> bool {
    matches!(
        call,
        Call::Remove(_)
            | Call::CleanUnused(_)
            | Call::GcMark(_)
            | Call::GcSweep(_)
            | Call::GcStatus(_)
            | Call::GetDbUsage(_)
            | Call::BackfillWait(_)
    )
}
