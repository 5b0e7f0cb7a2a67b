//! Which certificate a client is shown: the right one, unless a fault wants a wrong one.

use std::sync::Arc;

use hubward_model::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;

use super::{Authority, CertificateError, lives, server_params};
use crate::faults::{Faults, WrongCertificate};
use crate::names::Names;

/// TLS sessions that are kept for clients that come back.
const SESSIONS: usize = 4096;

/// The certificates there are to show.
#[derive(Debug)]
pub(super) struct Shown {
    right: Arc<CertifiedKey>,
    untrusted: Arc<CertifiedKey>,
    expired: Arc<CertifiedKey>,
    other_name: Arc<CertifiedKey>,
    faults: Faults,
}

impl Shown {
    /// Issues all of them, for one key.
    pub(super) fn issue(
        authority: &Authority,
        names: &Names,
        now: Timestamp,
        provider: &CryptoProvider,
        faults: Faults,
    ) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let certified = |params: &CertificateParams, by: &Issuer<'_, KeyPair>, root: &CertificateDer<'static>| {
            let chain = vec![params.signed_by(&key, by)?.der().clone(), root.clone()];
            let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let private = provider.key_provider.load_private_key(private)?;
            Ok::<_, CertificateError>(Arc::new(CertifiedKey::new(chain, private)))
        };
        let right = server_params(names, now)?;
        let mut expired = right.clone();
        lives(&mut expired, now, -30, -1);
        let mut other = right.clone();
        other.subject_alt_names = vec![rcgen::SanType::DnsName("other.example.org".to_owned().try_into()?)];
        other.distinguished_name.push(DnType::CommonName, "other.example.org");
        let stranger_key = KeyPair::generate()?;
        let mut stranger = CertificateParams::default();
        stranger.distinguished_name.push(DnType::CommonName, "An authority that nobody trusts");
        stranger.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let root = stranger.self_signed(&stranger_key)?.der().clone();
        let stranger = Issuer::new(stranger, stranger_key);
        let ours = (&authority.issuer, &authority.certificate);
        Ok(Self {
            untrusted: certified(&right, &stranger, &root)?,
            expired: certified(&expired, ours.0, ours.1)?,
            other_name: certified(&other, ours.0, ours.1)?,
            right: certified(&right, ours.0, ours.1)?,
            faults,
        })
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = match self.faults.certificate() {
            None => &self.right,
            Some(WrongCertificate::Untrusted) => &self.untrusted,
            Some(WrongCertificate::Expired) => &self.expired,
            Some(WrongCertificate::OtherName) => &self.other_name,
        };
        Some(shown.clone())
    }
}

/// Sessions of clients that come back. Who resumes one looks at no certificate, so while a wrong one is shown there are
/// none.
#[derive(Debug)]
pub(super) struct Sessions {
    kept: Arc<ServerSessionMemoryCache>,
    faults: Faults,
}

impl Sessions {
    pub(super) fn new(faults: Faults) -> Self {
        Self { kept: ServerSessionMemoryCache::new(SESSIONS), faults }
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.kept.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        if self.faults.shows_wrong_certificate() { None } else { self.kept.get(key) }
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        if self.faults.shows_wrong_certificate() { None } else { self.kept.take(key) }
    }

    fn can_cache(&self) -> bool {
        true
    }
}
