//! What one client may do, and how its topics on the wire become topics in records and back.
//!
//! In records every topic of a device lies under `devices/{id}/`, and no device token stands in any:
//! `u{token}[/x]` becomes `devices/{id}/u[/x]`, where each level of x that is a device token becomes that device's id and
//! the level after `br` becomes `unknown` if it is none. A device's own list of uplink topics goes below
//! `devices/{id}/signals/`, so that apps find all signals in one place and fixed topics of many devices do not collide.

use std::borrow::Cow;

use hubward_model::{DeviceId, Kind, pybytes};
use hubward_mqtt::protocol::Reason;
use hubward_mqtt::{Subscription, TopicFilter, TopicName};
use secrecy::{ExposeSecret, SecretString};

use crate::auth::{Authenticator, ClientKind, Grant, Owner};

/// The level in a border router's topic after which another device's token stands.
const BORDER_ROUTER: &str = "br";
const UNKNOWN: &str = "unknown";

/// A client's rights.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) owner: Owner,
    publish: Vec<TopicFilter>,
    subscribe: Vec<TopicFilter>,
    speech: Speech,
}

#[derive(Debug)]
enum Speech {
    Device { id: DeviceId, base: String },
    Pycom { id: DeviceId, token: SecretString, base: String },
    App,
}

/// Where a message goes in the journal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ingress {
    pub(crate) topic: String,
    pub(crate) kind: Kind,
    pub(crate) device: Option<DeviceId>,
}

impl Access {
    pub(crate) fn new(grant: Grant) -> Self {
        let speech = match (&grant.owner, grant.kind) {
            (Owner::Device(id), ClientKind::Pycom { token }) => {
                Speech::Pycom { id: id.clone(), token, base: format!("devices/{id}/u") }
            }
            (Owner::Device(id), _) => Speech::Device { id: id.clone(), base: format!("devices/{id}/") },
            (Owner::App(_), _) => Speech::App,
        };
        Self { owner: grant.owner, publish: grant.publish, subscribe: grant.subscribe, speech }
    }

    pub(crate) fn is_pycom(&self) -> bool {
        matches!(self.speech, Speech::Pycom { .. })
    }

    pub(crate) fn is_app(&self) -> bool {
        matches!(self.speech, Speech::App)
    }

    /// Where a message published on `topic` goes; nothing if it may not be published there.
    pub(crate) fn ingress(&self, topic: &str, payload: &[u8], auth: &dyn Authenticator) -> Option<Ingress> {
        if !self.publish.iter().any(|filter| filter.matches_str(topic)) {
            return None;
        }
        Some(match &self.speech {
            Speech::Device { id, base } => {
                let topic =
                    if topic.starts_with(base.as_str()) { topic.to_owned() } else { format!("{base}signals/{topic}") };
                Ingress { topic, kind: Kind::Signal, device: Some(id.clone()) }
            }
            Speech::Pycom { id, token, base } => {
                let rest = topic.strip_prefix('u')?.strip_prefix(token.expose_secret())?;
                let mut own = String::with_capacity(base.len() + rest.len());
                own.push_str(base);
                if !rest.is_empty() {
                    without_tokens(&mut own, rest.strip_prefix('/')?, auth);
                }
                let kind = if pybytes::is_signal(payload) { Kind::Signal } else { Kind::System };
                Ingress { topic: own, kind, device: Some(id.clone()) }
            }
            Speech::App => Ingress { topic: topic.to_owned(), kind: Kind::Command, device: device_of_topic(topic) },
        })
    }

    /// Whether a filter or its group names a device by its token. No topic in a record does, and no record of a
    /// subscription may.
    pub(crate) fn names_a_token(&self, subscription: &Subscription, auth: &dyn Authenticator) -> bool {
        let group = match subscription {
            Subscription::Shared(shared) => Some(shared.group.as_str()),
            Subscription::Plain(_) => None,
        };
        group.into_iter().chain(subscription.filter().levels()).any(|level| auth.device_of_token(level).is_some())
    }

    /// The filter on records' topics that a subscription means.
    pub(crate) fn subscription(&self, subscription: &Subscription) -> Result<TopicFilter, Reason> {
        let filter = subscription.filter();
        if !self.subscribe.iter().any(|allowed| allowed.covers(filter)) {
            return Err(Reason::NOT_AUTHORIZED);
        }
        match &self.speech {
            Speech::Device { .. } | Speech::App => Ok(filter.clone()),
            Speech::Pycom { id, .. } => {
                format!("devices/{id}/commands/#").parse().map_err(|_| Reason::TOPIC_FILTER_INVALID)
            }
        }
    }

    /// The topic on which a record's message is sent to this client.
    pub(crate) fn wire_topic<'a>(&self, topic: &'a str) -> Cow<'a, str> {
        match &self.speech {
            Speech::Device { .. } | Speech::App => Cow::Borrowed(topic),
            Speech::Pycom { token, .. } => Cow::Owned(format!("d{}", token.expose_secret())),
        }
    }

    /// Whether a Pycom device may be answered on `topic` with a PONG.
    pub(crate) fn is_plain_uplink(&self, topic: &str) -> bool {
        matches!(&self.speech, Speech::Pycom { token, .. }
            if topic.strip_prefix('u').is_some_and(|rest| rest == token.expose_secret()))
    }

    /// The topic of answers to a Pycom device.
    pub(crate) fn pycom_down(&self) -> Option<String> {
        match &self.speech {
            Speech::Pycom { token, .. } => Some(format!("d{}", token.expose_secret())),
            _ => None,
        }
    }
}

/// Appends the levels of `rest`, each after a `/`, without a device token in them.
fn without_tokens(own: &mut String, rest: &str, auth: &dyn Authenticator) {
    let mut after_border_router = false;
    for level in rest.split('/') {
        own.push('/');
        match auth.device_of_token(level) {
            Some(id) => own.push_str(id.as_str()),
            None if after_border_router => own.push_str(UNKNOWN),
            None => own.push_str(level),
        }
        after_border_router = level == BORDER_ROUTER;
    }
}

/// The device in `devices/{id}/…`.
pub(crate) fn device_of_topic(topic: &str) -> Option<DeviceId> {
    topic.strip_prefix("devices/")?.split('/').next()?.parse().ok()
}

/// What may be said in a log of a topic that was refused: it may hold another device's secret.
pub(crate) fn loggable(topic: &str) -> String {
    let bytes = topic.len();
    match TopicName::check(topic) {
        Err(error) => format!("{bytes} bytes, {error}"),
        Ok(()) if topic.starts_with("devices/") => {
            let second = topic.split('/').nth(1).unwrap_or_default();
            // Ids of ours have 16 letters, secrets at least 32.
            if second.len() <= 20 { format!("devices/{second}/…, {bytes} bytes") } else { format!("{bytes} bytes") }
        }
        Ok(()) => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::auth::{Login, Refusal};

    const TOKEN: &str = "11111111-2222-3333-4444-555555555555";
    const NEIGHBOUR: &str = "99999999-2222-3333-4444-555555555555";

    struct Tokens;

    impl Authenticator for Tokens {
        fn authenticate(&self, _: Login) -> BoxFuture<'_, Result<Grant, Refusal>> {
            Box::pin(async { Err(Refusal::BadCredentials) })
        }

        fn device_of_token(&self, token: &str) -> Option<DeviceId> {
            match token {
                TOKEN => "board".parse().ok(),
                NEIGHBOUR => "neighbour".parse().ok(),
                _ => None,
            }
        }
    }

    fn pycom() -> Access {
        Access::new(Grant::pycom(&"board".parse().unwrap(), SecretString::from(TOKEN)).unwrap())
    }

    fn topic(access: &Access, topic: &str) -> Option<String> {
        access.ingress(topic, b"", &Tokens).map(|ingress| ingress.topic)
    }

    #[test]
    fn a_token_becomes_an_id_at_every_level() {
        let board = pycom();
        for (wire, record) in [
            (format!("u{TOKEN}"), "devices/board/u"),
            (format!("u{TOKEN}/ota"), "devices/board/u/ota"),
            (format!("u{TOKEN}/br/{NEIGHBOUR}"), "devices/board/u/br/neighbour"),
            (format!("u{TOKEN}/br/88888888-2222-3333-4444-555555555555"), "devices/board/u/br/unknown"),
            (format!("u{TOKEN}/sample/a/b/{TOKEN}"), "devices/board/u/sample/a/b/board"),
        ] {
            assert_eq!(topic(&board, &wire).as_deref(), Some(record), "{wire}");
        }
    }

    #[test]
    fn a_device_publishes_only_on_its_own_topics() {
        let board = pycom();
        for foreign in
            [format!("u{NEIGHBOUR}"), format!("u{TOKEN}x"), format!("d{TOKEN}"), "devices/board/u".to_owned()]
        {
            assert_eq!(topic(&board, &foreign), None, "{foreign}");
        }
        let device = Access::new(Grant::device(&"m1".parse().unwrap(), Vec::new()).unwrap());
        assert_eq!(topic(&device, "devices/m1/signals/t").as_deref(), Some("devices/m1/signals/t"));
        for foreign in ["devices/m2/signals/t", "devices/m1/commands/x", "devices/m1", "x"] {
            assert_eq!(topic(&device, foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_device_subscribes_only_to_its_own_commands() {
        let device = Access::new(Grant::device(&"m1".parse().unwrap(), Vec::new()).unwrap());
        for (filter, allowed) in [
            ("devices/m1/commands/#", true),
            ("devices/m1/commands/led", true),
            ("$share/g/devices/m1/commands/+", true),
            ("devices/+/commands/#", false),
            ("devices/m2/commands/#", false),
            ("#", false),
        ] {
            assert_eq!(device.subscription(&filter.parse().unwrap()).is_ok(), allowed, "{filter}");
        }
        let board = pycom();
        let down = format!("d{TOKEN}").parse().unwrap();
        assert_eq!(board.subscription(&down).unwrap().as_str(), "devices/board/commands/#");
        assert!(board.subscription(&format!("d{NEIGHBOUR}").parse().unwrap()).is_err());
        assert!(board.subscription(&"#".parse().unwrap()).is_err());
    }

    #[test]
    fn fixed_topics_of_a_fleet_go_below_the_devices_signals() {
        let filter = "factory/+/temp".parse().unwrap();
        let device = Access::new(Grant::device(&"m1".parse().unwrap(), vec![filter]).unwrap());
        assert_eq!(topic(&device, "factory/a/temp").as_deref(), Some("devices/m1/signals/factory/a/temp"));
        assert_eq!(topic(&device, "devices/m1/signals/t"), None);
    }

    #[test]
    fn a_refused_topic_is_logged_without_a_secret() {
        for topic in [format!("u{NEIGHBOUR}/x"), format!("devices/{NEIGHBOUR}/x"), format!("devices/m2/{TOKEN}")] {
            assert!(!loggable(&topic).contains("2222"), "{topic}");
        }
        assert!(loggable("devices/m2/signals/x").contains("m2"));
    }
}
