//! Running a test on every transport and backend.

use hashserv_tests::{Backend, Launch, TestServer, Transport};

/// Runs a test against a new server on each transport and backend.
pub(crate) async fn everywhere(test: impl AsyncFn(&TestServer)) {
    everywhere_with(|launch| launch, test).await;
}

/// Runs a test against a new server, configured so, on each transport and backend.
pub(crate) async fn everywhere_with(configure: impl Fn(Launch) -> Launch, test: impl AsyncFn(&TestServer)) {
    for backend in Backend::all() {
        for transport in Transport::ALL {
            let server = configure(Launch::new(backend, transport)).start().await;
            test(&server).await;
        }
    }
}

/// Runs a test on each transport and backend.
pub(crate) async fn each_place(test: impl AsyncFn(Backend, Transport)) {
    for backend in Backend::all() {
        for transport in Transport::ALL {
            test(backend, transport).await;
        }
    }
}
