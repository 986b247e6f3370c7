//! The certificate of the server.

mod keeper;

use std::sync::Arc;

use hashserv_protocol::Address;
use hashserv_transport::ServerTls;

use crate::config::{Certificate, Config};
use crate::error::StartError;

pub(crate) use keeper::{CHECK_INTERVAL, Keeper};

/// The certificate, where an address needs one.
pub(crate) fn certificate(config: &Config) -> Result<Option<Arc<ServerTls>>, StartError> {
    if !config.addresses.iter().any(|address| matches!(address, Address::WebSocket { tls: true, .. })) {
        return Ok(None);
    }
    let tls = match &config.certificate {
        Certificate::Files { chain, key } => ServerTls::from_files(chain, key)?,
        Certificate::SelfSigned { directory } => {
            ServerTls::self_signed(directory, &names(&config.addresses)).map_err(|source| {
                StartError::TlsDirectory { directory: directory.clone(), source: Box::new(source) }
            })?
        }
    };
    Ok(Some(Arc::new(tls)))
}

/// The host names under which the server is to be reached, as far as its addresses tell.
fn names(addresses: &[Address]) -> Vec<String> {
    addresses
        .iter()
        .filter_map(|address| match address {
            Address::WebSocket { tls: true, host, .. } if !host.name.is_empty() => Some(host.name.clone()),
            _ => None,
        })
        .collect()
}
