//! The cryptography.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Returns the provider of cryptography, named at each use so that no process-wide default is needed.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
