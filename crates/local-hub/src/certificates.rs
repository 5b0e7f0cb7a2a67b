//! The hub's own certificate authority, kept, and its server certificate, issued anew at every start.
//!
//! Whoever trusts the authority's certificate (`ca.pem`) trusts the hub for as long as its folder lives; the server
//! certificate can then follow a changed host name, and never grows old.

use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use hubward_model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use sha2::{Digest, Sha256};

use self::shown::{Sessions, Shown};
use crate::client_certificates::AnyClient;
use crate::faults::Faults;
use crate::folder::{self, Folder};
use crate::names::Names;

mod shown;

const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca-key.pem";

/// What the hub shows in TLS.
pub(crate) struct Certificates {
    /// The authority's certificate, for clients to trust.
    pub(crate) ca_file: PathBuf,
    /// For HTTPS.
    pub(crate) https: Arc<ServerConfig>,
    /// For AMQP and MQTT, which both name no protocol in TLS.
    pub(crate) plain: Arc<ServerConfig>,
}

impl Certificates {
    /// Finds or makes the authority in `folder`, and issues a server certificate for all of the hub's hosts.
    /// `faults` says when a wrong one is to be shown.
    pub(crate) fn open(
        folder: &Folder,
        names: &Names,
        now: Timestamp,
        faults: &Faults,
    ) -> Result<Self, CertificateError> {
        let authority = Authority::open(folder)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // One certificate for all names also serves clients that send no server name.
        let shown = Arc::new(Shown::issue(&authority, names, now, &provider, faults.clone())?);
        let sessions = Arc::new(Sessions::new(faults.clone()));
        let config = |alpn: &[&[u8]]| -> Result<Arc<ServerConfig>, CertificateError> {
            // Python's device SDK speaks TLS 1.2 only, everybody else 1.3.
            let mut config = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
                .with_client_cert_verifier(Arc::new(AnyClient(provider.clone())))
                .with_cert_resolver(shown.clone());
            config.session_storage = sessions.clone();
            config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
            Ok(Arc::new(config))
        };
        Ok(Self { ca_file: folder.file(CA_FILE), https: config(&[b"http/1.1"])?, plain: config(&[])? })
    }
}

/// Why the hub has no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rustls::pki_types::CertificateDer<'static>,
}

impl Authority {
    fn open(folder: &Folder) -> Result<Self, CertificateError> {
        let (cert_path, key_path) = (folder.file(CA_FILE), folder.file(CA_KEY_FILE));
        let io = |path: &PathBuf| {
            let path = path.clone();
            move |source| CertificateError::Io { path, source }
        };
        let key = match fs::read_to_string(&key_path) {
            Ok(pem) => KeyPair::from_pem(&pem)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate()?;
                folder::replace(&key_path, key.serialize_pem().as_bytes()).map_err(io(&key_path))?;
                key
            }
            Err(source) => return Err(io(&key_path)(source)),
        };
        // Name and key make the authority. Its certificate is made of both alone, so that one written by an earlier
        // start and one written now (because the file was lost) are equally good for clients that trust either.
        let params = authority_params(&key);
        let certificate = match fs::read(&cert_path) {
            Ok(pem) => first_certificate(&pem)
                .ok_or_else(|| io(&cert_path)(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it")))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let certificate = params.self_signed(&key)?;
                folder::replace(&cert_path, certificate.pem().as_bytes()).map_err(io(&cert_path))?;
                certificate.der().clone()
            }
            Err(source) => return Err(io(&cert_path)(source)),
        };
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }
}

fn first_certificate(pem: &[u8]) -> Option<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::pem_slice_iter(pem).next()?.ok()
}

fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    // Two hubs' authorities need two names, or a client that trusts both picks the wrong one.
    let fingerprint = Sha256::digest(key.public_key_raw());
    let mark = fingerprint.iter().take(4).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    name.push(DnType::CommonName, format!("Hubward local hub CA {mark}"));
    name.push(DnType::OrganizationName, "Hubward");
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2050, 1, 1);
    params
}

fn server_params(names: &Names, now: Timestamp) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    for host in names.hosts() {
        params.subject_alt_names.push(match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into()?),
        });
    }
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, names.host.as_str());
    params.distinguished_name = name;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Some platforms refuse server certificates that live longer than 825 days.
    lives(&mut params, now, -2, 800);
    Ok(params)
}

/// Lets a certificate live from one day to another, both counted from today, UTC.
fn lives(params: &mut CertificateParams, now: Timestamp, from: i64, to: i64) {
    let today = jiff::Timestamp::from_millisecond(now.as_millis())
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let day = |days| {
        let date = today.saturating_add(jiff::Span::new().days(days));
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(from), day(to));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults() -> Faults {
        Faults::new(crate::Clock::system())
    }

    #[test]
    fn the_authority_survives_a_restart_and_a_lost_certificate_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let names = Names::new("hub", "localhost").unwrap();
        Certificates::open(&folder, &names, Timestamp::now(), &faults()).unwrap();
        let first = Authority::open(&folder).unwrap().certificate;
        let renamed = Names::new("hub", "other.example.org").unwrap();
        Certificates::open(&folder, &renamed, Timestamp::now(), &faults()).unwrap();
        assert_eq!(Authority::open(&folder).unwrap().certificate, first);
        fs::remove_file(folder.file(CA_FILE)).unwrap();
        let certificates = Certificates::open(&folder, &names, Timestamp::now(), &faults()).unwrap();
        assert!(certificates.ca_file.exists());
    }
}
