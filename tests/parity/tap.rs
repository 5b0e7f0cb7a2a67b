//! A tap between clients and a hub.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hubward_iothub::tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What clients sent, one entry for each connection, in the order they came.
pub(crate) type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// The certificate that taps show, and the CA to trust.
pub(crate) struct Certificate {
    pub(crate) ca: String,
    acceptor: TlsAcceptor,
}

impl Certificate {
    pub(crate) fn of(host: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate for self-signed whose issuer has its own name.
        params.distinguished_name.push(DnType::CommonName, "tap of the parity suite");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        let certificate = params.signed_by(&key, &ca).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        Self { ca: ca.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }
}

/// Listens at `listen` and passes on to `hub` (by TLS, whose CA is `hub_ca`) for ever.
pub(crate) async fn tap(
    tasks: &mut JoinSet<()>,
    certificate: &Certificate,
    listen: SocketAddr,
    hub: String,
    hub_ca: &str,
) -> Heard {
    let listener = TcpListener::bind(listen).await.unwrap_or_else(|error| panic!("listen at {listen}: {error}"));
    let connector = TlsConnector::from(Arc::new(tls::client_config(Some(hub_ca)).unwrap()));
    let acceptor = certificate.acceptor.clone();
    let heard = Heard::default();
    let noted = Arc::clone(&heard);
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, connector, hub, noted) =
                (acceptor.clone(), connector.clone(), hub.clone(), Arc::clone(&noted));
            open.spawn(async move {
                let Ok(client) = acceptor.accept(stream).await else { return };
                let name = ServerName::try_from("localhost").unwrap();
                let hub = connector.connect(name, TcpStream::connect(hub).await.unwrap()).await.unwrap();
                let place = {
                    let mut noted = noted.lock().unwrap();
                    noted.push(Vec::new());
                    noted.len() - 1
                };
                let ((mut from_client, mut to_client), (mut from_hub, mut to_hub)) = (split(client), split(hub));
                let up = async {
                    let mut bytes = vec![0; 65536];
                    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                        noted.lock().unwrap()[place].extend_from_slice(&bytes[..count]);
                        if to_hub.write_all(&bytes[..count]).await.is_err() || to_hub.flush().await.is_err() {
                            break;
                        }
                    }
                    let _ = to_hub.shutdown().await;
                };
                let down = async {
                    let _ = copy(&mut from_hub, &mut to_client).await;
                    let _ = to_client.shutdown().await;
                };
                tokio::join!(up, down);
            });
        }
    });
    heard
}
