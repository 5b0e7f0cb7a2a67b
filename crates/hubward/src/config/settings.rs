//! The typed settings a server is started with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use hubward_model::Tier;

use super::keys::{KEYS, Key};
use super::layers::{ConfigError, Layers, Origin};
use crate::units;

/// Shortest and longest life of a token: it must arrive before it ends, and ends some day if it is stolen.
const TOKEN_LIFETIMES: (&str, &str) = ("5s", "365d");
/// Shortest and longest pause before a hub whose day is used up is asked again.
const QUOTA_PROBES: (&str, &str) = ("1s", "24h");

/// Where to listen: a host (name or address) and a port; port 0 takes a free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} is no address such as 127.0.0.1:1883, [::1]:1883 or 0.0.0.0:1883");
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inner) => inner,
            None if host.contains(':') => return Err(refuse()),
            None => host,
        };
        if host.is_empty() {
            return Err(refuse());
        }
        Ok(Self { host: host.to_owned(), port: port.parse().map_err(|_| refuse())? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Everything `up` can be told. Each field is a key of [`keys`](super::keys).
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the table of keys documents each")]
pub struct Settings {
    pub mqtt: Option<Address>,
    pub mqtts: Option<Address>,
    pub ws: Option<Address>,
    pub wss: Option<Address>,
    pub http: Option<Address>,
    pub https: Option<Address>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub data: PathBuf,
    pub key_file: Option<PathBuf>,
    pub local_hub: bool,
    pub local_hub_tier: Option<Tier>,
    pub local_hub_units: u32,
    pub allow_hub: Vec<String>,
    pub token_lifetime: Duration,
    pub quota_probe: Duration,
    pub allow_webhook: Vec<String>,
    pub webhook: WebhookSettings,
    pub trust_proxy: bool,
    pub insecure_http: bool,
    pub port_file: Option<PathBuf>,
    pub log: String,
    pub log_format: LogFormat,
    pub console: ConsoleSettings,
    pub journal: JournalSettings,
    /// What was said, with who said it, to be shown.
    pub said: Vec<Said>,
}

/// A setting as text, with where it came from.
#[derive(Debug, Clone)]
pub struct Said {
    /// The setting.
    pub key: &'static Key,
    /// What is in effect; none: nothing is set.
    pub value: Option<String>,
    /// Who said so.
    pub origin: Origin,
}

/// Who is told of alarms, if the configuration says so.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the table of keys documents each")]
pub struct WebhookSettings {
    pub url_file: Option<PathBuf>,
    pub secret_file: Option<PathBuf>,
}

/// Settings of the console.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the table of keys documents each")]
pub struct ConsoleSettings {
    pub session_idle: Duration,
    pub session_lifetime: Duration,
}

/// Settings of the journal.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the table of keys documents each")]
pub struct JournalSettings {
    pub segment: u64,
    pub limit: u64,
    pub disk_share: f64,
    pub history: Duration,
    pub commit_delay: Option<Duration>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is neither text nor json")),
        }
    }
}

impl Settings {
    /// Reads the texts of all layers as what they should be.
    pub fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        let get = Reader { layers };
        get.together("webhook.secret_file", "webhook.url_file")?;
        let commit_delay = get.parse("journal.commit_delay", units::duration)?;
        Ok(Self {
            mqtt: get.address("mqtt")?,
            mqtts: get.address("mqtts")?,
            ws: get.address("ws")?,
            wss: get.address("wss")?,
            http: get.address("http")?,
            https: get.address("https")?,
            tls_cert: get.path("tls_cert"),
            tls_key: get.path("tls_key"),
            data: get.path("data").unwrap_or_else(|| PathBuf::from("hubward-data")),
            key_file: get.path("key_file"),
            local_hub: get.parse("local_hub", switch)?,
            local_hub_tier: get.parse("local_hub_tier", tier)?,
            local_hub_units: get.local_hub_units()?,
            allow_hub: layers.get("allow_hub").0.to_vec(),
            token_lifetime: get.parse("token_lifetime", |text| within(text, TOKEN_LIFETIMES, "a token lives"))?,
            quota_probe: get.parse("quota_probe", |text| within(text, QUOTA_PROBES, "a hub is asked again after"))?,
            allow_webhook: layers.get("allow_webhook").0.to_vec(),
            webhook: WebhookSettings {
                url_file: get.path("webhook.url_file"),
                secret_file: get.path("webhook.secret_file"),
            },
            trust_proxy: get.parse("trust_proxy", switch)?,
            insecure_http: get.parse("insecure_http", switch)?,
            port_file: get.path("port_file"),
            log: get.text("log"),
            log_format: get.parse("log_format", str::parse)?,
            console: ConsoleSettings {
                session_idle: get.parse("console.session_idle", units::duration)?,
                session_lifetime: get.parse("console.session_lifetime", units::duration)?,
            },
            journal: JournalSettings {
                segment: get.parse("journal.segment", units::size)?,
                limit: get.parse("journal.limit", units::size)?,
                disk_share: get.parse("journal.disk_share", units::share)?,
                history: get.parse("journal.history", units::duration)?,
                commit_delay: (!commit_delay.is_zero()).then_some(commit_delay),
            },
            said: KEYS.iter().map(|key| said(layers, key)).collect(),
        })
    }

    /// The master key's file.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| beside(&self.data, "key"))
    }

    /// The file that lets commands on this machine in.
    #[must_use]
    pub fn admin_file(&self) -> PathBuf {
        beside(&self.data, "admin.json")
    }

    /// The local hub's folder.
    #[must_use]
    pub fn local_hub_folder(&self) -> PathBuf {
        beside(&self.data, "local-hub")
    }
}

/// `<data>.<suffix>`: beside the data folder, never inside.
#[must_use]
pub fn beside(data: &Path, suffix: &str) -> PathBuf {
    let mut name = data.file_name().map_or_else(|| "hubward-data".into(), std::ffi::OsStr::to_os_string);
    name.push(".");
    name.push(suffix);
    data.with_file_name(name)
}

struct Reader<'a> {
    layers: &'a Layers,
}

impl Reader<'_> {
    fn text(&self, key: &'static str) -> String {
        self.layers.get(key).0.first().cloned().unwrap_or_default()
    }

    fn path(&self, key: &'static str) -> Option<PathBuf> {
        Some(self.text(key)).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    fn parse<T>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        parse(&self.text(key)).map_err(|why| ConfigError::BadValue { key, origin: self.layers.get(key).1.clone(), why })
    }

    /// Refuses a value that means nothing without another one.
    fn together(&self, key: &'static str, needs: &'static str) -> Result<(), ConfigError> {
        if self.text(key).is_empty() || !self.text(needs).is_empty() {
            return Ok(());
        }
        Err(ConfigError::Alone { key, origin: self.layers.get(key).1.clone(), needs })
    }

    /// As many as the tier may have.
    fn local_hub_units(&self) -> Result<u32, ConfigError> {
        let most = self.parse("local_hub_tier", tier)?.map_or(u32::MAX, Tier::max_units);
        self.parse("local_hub_units", |text| match text.parse::<u32>() {
            Ok(units) if (1..=most).contains(&units) => Ok(units),
            Ok(units) => Err(format!("{units}: a hub of this tier has 1 to {most} units")),
            Err(_) => Err(format!("{text:?} is no number of units")),
        })
    }

    fn address(&self, key: &'static str) -> Result<Option<Address>, ConfigError> {
        self.parse(key, |text| match text {
            "off" | "" => Ok(None),
            address => address.parse().map(Some),
        })
    }
}

/// A time span from the first to the last of these.
fn within(text: &str, (least, most): (&str, &str), what: &str) -> Result<Duration, String> {
    let span = units::duration(text)?;
    if span < units::duration(least)? || span > units::duration(most)? {
        return Err(format!("{text:?}: {what} {least} to {most}"));
    }
    Ok(span)
}

fn tier(text: &str) -> Result<Option<Tier>, String> {
    if text.is_empty() { Ok(None) } else { units::tier(text).map(Some) }
}

fn said(layers: &Layers, key: &'static Key) -> Said {
    let (values, origin) = layers.get(key.name);
    Said { key, value: (!values.is_empty()).then(|| values.join(", ")), origin: origin.clone() }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flag;

    #[test]
    fn the_defaults_are_settings() {
        let layers = Layers::merge(None, std::iter::empty(), &[]).unwrap();
        let settings = Settings::from_layers(&layers).unwrap();
        assert_eq!(settings.mqtt.unwrap().to_string(), "127.0.0.1:1883");
        assert_eq!(settings.http.unwrap().to_string(), "127.0.0.1:8080");
        assert!(settings.mqtts.is_none() && !settings.local_hub && settings.journal.commit_delay.is_none());
        assert_eq!(settings.journal.limit, 10 << 30);
        assert_eq!(
            (settings.token_lifetime, settings.quota_probe),
            (units::duration("1h").unwrap(), Duration::from_secs(900))
        );
    }

    #[test]
    fn a_bad_value_names_key_origin_and_value() {
        let env = [("HUBWARD_MQTT".to_owned(), "1883".to_owned())];
        let layers = Layers::merge(None, env.into_iter(), &[]).unwrap();
        let error = Settings::from_layers(&layers).unwrap_err().to_string();
        assert!(error.starts_with("mqtt from HUBWARD_MQTT: \"1883\" is no address"), "{error}");
    }

    #[test]
    fn a_webhooks_key_without_its_address_names_both_and_what_to_do() {
        let read = |env: &[(&str, &str)]| {
            let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Settings::from_layers(&Layers::merge(None, env, &[]).unwrap())
        };
        let (key, url) = (("HUBWARD_WEBHOOK_SECRET_FILE", "k"), ("HUBWARD_WEBHOOK_URL_FILE", "u"));
        let problem = read(&[key]).unwrap_err().problem();
        assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("missing_setting", Some("webhook.url_file")));
        assert_eq!(
            problem.message,
            "webhook.secret_file from HUBWARD_WEBHOOK_SECRET_FILE says nothing alone: webhook.url_file is not set"
        );
        assert!(
            problem.remedy.contains("HUBWARD_WEBHOOK_URL_FILE")
                && problem.remedy.contains("leave webhook.secret_file out")
        );
        assert!(read(&[key, url]).is_ok() && read(&[url]).is_ok());
    }

    #[test]
    fn the_local_hub_has_no_more_units_than_its_tier() {
        let read = |tier: &str, units: &str| {
            let flags = [("local_hub_tier", tier), ("local_hub_units", units)]
                .map(|(key, value)| Flag { key, values: vec![value.to_owned()] });
            Settings::from_layers(&Layers::merge(None, std::iter::empty(), &flags).unwrap())
        };
        let settings = read("S1", "2").unwrap();
        assert_eq!((settings.local_hub_tier, settings.local_hub_units), (Some(Tier::S1), 2));
        for (tier, units, words) in
            [("F1", "2", "1 to 1 units"), ("S1", "0", "1 to"), ("S1", "x", "no number"), ("S9", "1", "S9")]
        {
            let error = read(tier, units).unwrap_err().to_string();
            assert!(error.contains("--local-hub-") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn tokens_and_probes_have_a_time_that_can_be() {
        let read = |key, value: &str| {
            let flags = [Flag { key, values: vec![value.to_owned()] }];
            Settings::from_layers(&Layers::merge(None, std::iter::empty(), &flags).unwrap())
        };
        assert_eq!(read("token_lifetime", "3d").unwrap().token_lifetime, Duration::from_secs(3 * 86_400));
        assert_eq!(read("quota_probe", "1s").unwrap().quota_probe, Duration::from_secs(1));
        for (key, value, words) in [
            ("token_lifetime", "4s", "lives 5s to 365d"),
            ("token_lifetime", "2 weeks", "no duration"),
            ("quota_probe", "0s", "after 1s to 24h"),
        ] {
            let error = read(key, value).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn addresses_may_be_names_and_ipv6() {
        for text in ["127.0.0.1:0", "[::1]:1883", "localhost:8080", "0.0.0.0:1883"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["1883", ":1883", "::1:1883", "host:", "host:99999"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!("[::1]:1".parse::<Address>().unwrap().is_loopback());
        assert!(!"0.0.0.0:1".parse::<Address>().unwrap().is_loopback());
    }

    #[test]
    fn files_lie_beside_the_data_folder() {
        assert_eq!(beside(Path::new("/var/lib/hubward"), "key"), Path::new("/var/lib/hubward.key"));
        assert_eq!(beside(Path::new("./hubward-data"), "admin.json"), Path::new("./hubward-data.admin.json"));
    }
}
