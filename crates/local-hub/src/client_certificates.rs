//! Devices that prove themselves by a certificate in TLS: any certificate is taken whose key the client holds; what it is
//! worth, the identity's thumbprints say.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What a certificate is known by: its digests, in upper-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thumbprints {
    pub(crate) sha1: String,
    pub(crate) sha256: String,
}

impl Thumbprints {
    /// Those of a certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        Self { sha1: hex(&Sha1::digest(certificate)), sha256: hex(&Sha256::digest(certificate)) }
    }

    /// Those of the client's certificate, if it has shown one.
    pub(crate) fn of_peer<S>(stream: &tokio_rustls::server::TlsStream<S>) -> Option<Self> {
        stream.get_ref().1.peer_certificates()?.first().map(Self::of)
    }

    /// Whether `text` (in any case) is one of them.
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.sha1.eq_ignore_ascii_case(text) || self.sha256.eq_ignore_ascii_case(text)
    }
}

/// Asks for a certificate, demands none, and trusts no authority: only that the client holds the key is verified.
#[derive(Debug)]
pub(crate) struct AnyClient(pub(crate) Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
