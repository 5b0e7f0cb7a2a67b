//! How TLS to a hub is checked: always, against the web's CAs and, if given, one more.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why a CA certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaError {
    /// There is no certificate in it.
    #[error("there is no certificate in the CA file: it must hold -----BEGIN CERTIFICATE-----")]
    Empty,
    /// It is not PEM text.
    #[error("the CA file is not PEM text: {0}")]
    Pem(String),
    /// It cannot be a root of trust.
    #[error("certificate {number} of the CA file cannot be used: {reason}")]
    Certificate {
        /// Which, from 1.
        number: usize,
        /// Why.
        reason: String,
    },
}

/// The TLS settings for connections to a hub: TLS 1.2 and 1.3, certificates and host names checked, Mozilla's CAs trusted
/// and those in `extra_ca_pem` beside them. There is no way to turn a check off.
///
/// # Errors
/// `extra_ca_pem` holds no usable certificate.
pub fn client_config(extra_ca_pem: Option<&str>) -> Result<ClientConfig, CaError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = extra_ca_pem {
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| CaError::Pem(error.to_string()))?;
            count += 1;
            roots
                .add(certificate)
                .map_err(|error| CaError::Certificate { number: count, reason: error.to_string() })?;
        }
        if count == 0 {
            return Err(CaError::Empty);
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        // The provider is the one line above, with the versions compiled in: the pair cannot be inconsistent.
        .expect("aws-lc-rs supports TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_refused() {
        assert_eq!(client_config(Some("hello")).unwrap_err(), CaError::Empty);
        assert_eq!(client_config(Some("")).unwrap_err(), CaError::Empty);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(client_config(Some(broken)), Err(CaError::Certificate { number: 1, .. })));
        assert!(client_config(None).is_ok());
    }
}
