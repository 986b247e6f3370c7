//! TLS for `wss://`: our certificate, and whom we trust.

mod client;
mod failure;
mod pem;
mod provider;
#[cfg(feature = "self-signed")]
mod self_signed;
mod server;
mod validity;

pub(crate) use client::ClientTls;
pub use client::check_authorities;
pub use server::ServerTls;
pub use validity::{CertificateInfo, Validity};

#[cfg(all(test, feature = "self-signed"))]
mod tests {
    use rustls::HandshakeKind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::Peer;

    #[tokio::test]
    async fn a_client_that_comes_back_resumes_its_session() {
        let directory = tempfile::tempdir().unwrap();
        let server = ServerTls::self_signed(directory.path(), &[]).unwrap();
        let client = ClientTls::new(Some(directory.path().join("hashserv-cert.pem")));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (dialled, accepted) =
                tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
            let peer = Peer::memory();
            let (near, far) = tokio::join!(
                client.connect(dialled.unwrap(), "localhost", &peer),
                server.accept(accepted.unwrap().0, &peer)
            );
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            // The ticket comes with the first data.
            far.write_all(b"x").await.unwrap();
            assert_eq!(near.read_u8().await.unwrap(), b'x');
            assert_eq!(near.get_ref().1.handshake_kind(), Some(expected));
        }
    }
}
