//! The table of all settings. A setting has one name: key `tls_cert` of the file, variable `HUBWARD_TLS_CERT`, flag
//! `--tls-cert` where there is one; `journal.limit` stands in the file's table `[journal]` and is
//! `HUBWARD_JOURNAL_LIMIT`.

/// What a setting's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `HOST:PORT`, or `off`.
    Address,
    /// A file or folder.
    Path,
    /// `true` or `false`.
    Switch,
    /// Any text.
    Text,
    /// Several texts; separated by commas in the environment.
    List,
    /// Bytes: `64MiB`.
    Size,
    /// A time span: `30d`.
    Duration,
    /// A share of one: `80%`.
    Share,
}

/// A setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name, with a dot for a table of the file.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Its value when nobody says anything; empty: none.
    pub default: &'static str,
    /// What it does, in a line.
    pub help: &'static str,
}

impl Key {
    /// The variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("HUBWARD_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

const fn key(name: &'static str, shape: Shape, default: &'static str, help: &'static str) -> Key {
    Key { name, shape, default, help }
}

/// All settings, in the order they are shown.
pub const KEYS: &[Key] = &[
    key("mqtt", Shape::Address, "127.0.0.1:1883", "MQTT over TCP, in clear text"),
    key("mqtts", Shape::Address, "off", "MQTT over TLS"),
    key("ws", Shape::Address, "off", "MQTT over WebSocket, in clear text"),
    key("wss", Shape::Address, "off", "MQTT over WebSocket over TLS"),
    key("http", Shape::Address, "127.0.0.1:8080", "API, metrics and console"),
    key("https", Shape::Address, "off", "the same over TLS"),
    key("tls_cert", Shape::Path, "", "certificate chain for the TLS listeners, PEM"),
    key("tls_key", Shape::Path, "", "its private key, PEM"),
    key("data", Shape::Path, "hubward-data", "data folder"),
    key("key_file", Shape::Path, "", "master key that seals the secrets; none: <data>.key"),
    key("local_hub", Shape::Switch, "false", "run a local IoT Hub beside the server"),
    key(
        "local_hub_tier",
        Shape::Text,
        "",
        "its tier, F1, S1, S2 or S3, with quota and throttles; none: only sizes are limited",
    ),
    key("local_hub_units", Shape::Text, "1", "units of that tier"),
    key("allow_hub", Shape::List, "", "hosts, besides Azure's own, that connection strings may name: HOST[:PORT]"),
    key(
        "token_lifetime",
        Shape::Duration,
        "1h",
        "how long the tokens (SAS) live that devices and policies log in to hubs with; renewed in their last quarter",
    ),
    key(
        "quota_probe",
        Shape::Duration,
        "15m",
        "how often a hub whose messages of the day are used up is asked before 00:00 UTC whether it takes more",
    ),
    key("allow_webhook", Shape::List, "", "hosts that may be told of alarms by a webhook: HOST[:PORT]"),
    key("trust_proxy", Shape::Switch, "false", "a proxy in front speaks TLS and tells the client's address"),
    key("insecure_http", Shape::Switch, "false", "allow HTTP without TLS beyond this machine"),
    key("port_file", Shape::Path, "", "write the addresses as JSON into this file when everything listens"),
    key(
        "log",
        Shape::Text,
        "info",
        "what is logged: error, warn, info, debug, trace, or a filter such as hubward_relay=debug",
    ),
    key("log_format", Shape::Text, "text", "text or json"),
    key(
        "webhook.url_file",
        Shape::Path,
        "",
        "file with the address that is told of alarms; none: as set by command or console",
    ),
    key("webhook.secret_file", Shape::Path, "", "file with the key that signs what it is told"),
    key("console.session_idle", Shape::Duration, "8h", "a session of the console ends when it is not used for so long"),
    key("console.session_lifetime", Shape::Duration, "7d", "a session of the console ends after this time in any case"),
    key("journal.segment", Shape::Size, "64MiB", "size of a journal segment"),
    key("journal.limit", Shape::Size, "10GiB", "how large the journal may grow"),
    key("journal.disk_share", Shape::Share, "80%", "how full the journal may make its disk"),
    key("journal.history", Shape::Duration, "30d", "how long delivered signals are kept for history and replay"),
    key("journal.commit_delay", Shape::Duration, "0s", "for tests: slows every sync of the journal"),
];

/// The setting named `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The setting whose name is nearest to `name`, if any is near.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static Key> {
    let plain = |text: &str| text.replace(['-', '.'], "_").to_ascii_lowercase();
    let wanted = plain(name);
    KEYS.iter()
        .map(|key| (distance(&plain(key.name), &wanted), key))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, key)| *distance <= key.name.len().max(wanted.len()) / 2)
        .map(|(_, key)| key)
}

/// Letters to change, add or leave out to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_finds_the_one_that_was_meant() {
        for (typed, meant) in [
            ("mqttt", "mqtt"),
            ("tls-cert", "tls_cert"),
            ("allow_hubs", "allow_hub"),
            ("journal.limits", "journal.limit"),
            ("dta", "data"),
        ] {
            assert_eq!(nearest(typed).map(|key| key.name), Some(meant), "{typed}");
        }
        assert!(nearest("completely_different_thing").is_none());
    }

    #[test]
    fn every_setting_has_its_own_variable() {
        let mut names: Vec<String> = KEYS.iter().map(Key::variable).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
    }
}
