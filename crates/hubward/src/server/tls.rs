//! The certificate of our own TLS listeners.

use std::path::Path;
use std::sync::Arc;

use hubward_model::Problem;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Reads certificate chain and key. `alpn` names what is spoken inside, if that is announced.
pub fn server_config(certificate: &Path, key: &Path, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, Problem> {
    let bad = |file: &Path, what: &str, error: &dyn std::fmt::Display| {
        Problem::new(
            "bad_certificate",
            format!("{} is no usable {what}: {error}", file.display()),
            "give PEM files: --tls-cert with the certificate and its intermediates, --tls-key with its private key",
        )
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| bad(certificate, "certificate", &error))?;
    if chain.is_empty() {
        return Err(bad(certificate, "certificate", &"it holds none"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, "private key", &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(certificate, "certificate", &error))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| bad(key, "private key for the certificate", &error))?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}
