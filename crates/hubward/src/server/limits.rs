//! The settings and limits in effect, as the API shows them.

use hubward_api::shapes::misc::SettingShow;

use crate::config::Settings;
use crate::config::settings::Said;

/// Every setting, then what is built in.
pub(super) fn in_effect(settings: &Settings, broker: &hubward_broker::Options) -> Vec<SettingShow> {
    let seconds = |span: std::time::Duration| format!("{} s", span.as_secs());
    let built_in = [
        ("connections", broker.max_connections.to_string(), "MQTT clients connected at a time"),
        ("packet", broker.max_packet_bytes.to_string(), "bytes of the largest MQTT packet"),
        ("receive maximum", broker.receive_maximum.to_string(), "unacknowledged publishes of one client"),
        ("connection memory", broker.connection_bytes.to_string(), "bytes of one client that are not yet on disk"),
        ("session expiry", seconds(broker.max_session_expiry), "how long a session outlives its connection"),
        ("pause", seconds(broker.pause_limit), "how long reading pauses at a limit before QoS 0 is dropped"),
        ("retained messages", broker.max_retained.to_string(), "retained messages, of all topics"),
        ("retained bytes", broker.max_retained_bytes.to_string(), "bytes of retained messages"),
        ("request", hubward_api::BODY_BYTES.to_string(), "bytes of the largest request of the API"),
    ];
    let built_in = built_in.into_iter().map(|(name, value, help)| SettingShow {
        name: name.to_owned(),
        value: Some(value),
        from: "built in".to_owned(),
        default: None,
        help: help.to_owned(),
        limit: true,
        variable: None,
    });
    settings.said.iter().map(shown).chain(built_in).collect()
}

fn shown(said: &Said) -> SettingShow {
    SettingShow {
        name: said.key.name.to_owned(),
        value: said.value.clone(),
        from: said.origin.to_string(),
        default: (!said.key.default.is_empty()).then(|| said.key.default.to_owned()),
        help: said.key.help.to_owned(),
        limit: said.key.name.starts_with("journal.") || said.key.name.starts_with("console.session_"),
        variable: Some(said.key.variable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flag, Layers};

    #[test]
    fn each_setting_is_shown_with_who_said_so() {
        let environment = [("HUBWARD_JOURNAL_LIMIT".to_owned(), "1GiB".to_owned())];
        let flags = [Flag { key: "http", values: vec!["127.0.0.1:0".to_owned()] }];
        let layers = Layers::merge(None, environment.into_iter(), &flags).unwrap();
        let shown = in_effect(&Settings::from_layers(&layers).unwrap(), &hubward_broker::Options::default());
        let of = |name: &str| {
            let one = shown.iter().find(|one| one.name == name).unwrap();
            (one.value.as_deref(), one.from.as_str(), one.default.as_deref(), one.limit)
        };
        assert_eq!(of("journal.limit"), (Some("1GiB"), "HUBWARD_JOURNAL_LIMIT", Some("10GiB"), true));
        assert_eq!(of("http"), (Some("127.0.0.1:0"), "--http", Some("127.0.0.1:8080"), false));
        assert_eq!(of("journal.history"), (Some("30d"), "default", Some("30d"), true));
        assert_eq!(of("key_file"), (None, "default", None, false));
        assert_eq!(of("packet"), (Some("1048576"), "built in", None, true));
    }
}
