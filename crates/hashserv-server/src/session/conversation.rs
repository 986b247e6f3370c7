//! State of a session that all its modes need.

use std::sync::Arc;

use hashserv_protocol::{Access, Hello};
use hashserv_service::Caller;
use hashserv_transport::Connection;

use super::outbox::Outbox;
use super::turn::Turn;
use crate::commands::access::check_access;
use crate::refusal::Fault;
use crate::shared::Shared;

/// A connection whose handshake is complete, and its caller.
pub(super) struct Conversation {
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Outbox,
    pub(super) caller: Caller,
    pub(super) turn: Turn,
}

impl Conversation {
    pub(super) fn new(shared: Arc<Shared>, connection: Connection, hello: &Hello) -> Self {
        let mut outbox = Outbox::new(shared.clone(), connection);
        if hello.needs_headers {
            // The server's headers, which are none, and the empty line that ends them.
            outbox.append(b"\n");
        }
        Conversation { shared, outbox, caller: Caller::anonymous(), turn: Turn::default() }
    }

    /// Checks that the caller has the permissions.
    pub(super) async fn require(&mut self, access: Access) -> Result<(), Fault> {
        check_access(self.shared.service.accounts(), &mut self.caller, access).await
    }
}
