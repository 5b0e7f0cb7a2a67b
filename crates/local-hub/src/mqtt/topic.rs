//! The topics of the hub's dialect (IoT Hub wire reference, 4.2): what a device may publish and subscribe to.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use uuid::Uuid;

/// What would change a topic's shape, or may not stand in one.
const IN_METHOD_NAME: &AsciiSet = &CONTROLS.add(b'/').add(b'?').add(b'#').add(b'+').add(b'%').add(b' ');

/// What a device publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Published<'a> {
    /// An event, with its property bag.
    Event { bag: &'a str },
    /// It asks for its twin.
    TwinGet { rid: &'a str },
    /// It reports properties.
    TwinReported { rid: &'a str },
    /// It answers a direct method.
    MethodAnswer { status: i64, id: Uuid },
}

/// Why a topic is none of the hub's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicRefused {
    #[error("there is no such topic")]
    Unknown,
    #[error("the topic is another device's")]
    Foreign,
    #[error("modules are not served here")]
    Module,
    #[error("the topic has no $rid")]
    NoRequestId,
    #[error("the topic has a status that is no number")]
    Status,
}

/// What `device` can subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Filter {
    /// Messages to it.
    Messages,
    /// Answers to its twin requests.
    TwinAnswers,
    /// Changes of its desired properties.
    Desired,
    /// Direct methods.
    Methods,
}

impl<'a> Published<'a> {
    /// What `device` means by publishing on `topic`.
    pub(crate) fn parse(topic: &'a str, device: &str) -> Result<Self, TopicRefused> {
        if let Some(rest) = topic.strip_prefix("devices/") {
            return Ok(Self::Event { bag: event_bag(rest, device)? });
        }
        if let Some(rest) = topic.strip_prefix("$iothub/twin/GET/") {
            return Ok(Self::TwinGet { rid: request_id(rest)? });
        }
        if let Some(rest) = topic.strip_prefix("$iothub/twin/PATCH/properties/reported/") {
            return Ok(Self::TwinReported { rid: request_id(rest)? });
        }
        if let Some(rest) = topic.strip_prefix("$iothub/methods/res/") {
            let (status, rest) = rest.split_once('/').ok_or(TopicRefused::NoRequestId)?;
            let status = status.parse().map_err(|_| TopicRefused::Status)?;
            // Ids of calls are the hub's own; any other was never asked for.
            let id = Uuid::parse_str(request_id(rest)?).unwrap_or(Uuid::nil());
            return Ok(Self::MethodAnswer { status, id });
        }
        Err(TopicRefused::Unknown)
    }
}

/// The bag in what follows `devices/`, if that is a place for the device's events.
fn event_bag<'a>(rest: &'a str, device: &str) -> Result<&'a str, TopicRefused> {
    let own = rest.strip_prefix(device).and_then(|rest| rest.strip_prefix('/'));
    let Some(own) = own else {
        let is_events = rest.split_once('/').is_some_and(|(_, rest)| rest.starts_with("messages/events"));
        return Err(if is_events { TopicRefused::Foreign } else { TopicRefused::Unknown });
    };
    if own.starts_with("modules/") {
        return Err(TopicRefused::Module);
    }
    match own.strip_prefix("messages/events") {
        Some("") => Ok(""),
        Some(bag) => bag.strip_prefix('/').ok_or(TopicRefused::Unknown),
        None => Err(TopicRefused::Unknown),
    }
}

/// The value of `$rid` in `?$rid={rid}[&…]`, as it stands there.
fn request_id(query: &str) -> Result<&str, TopicRefused> {
    let query = query.strip_prefix('?').ok_or(TopicRefused::NoRequestId)?;
    let rid = query.split('&').find_map(|pair| pair.strip_prefix("$rid="));
    rid.filter(|rid| !rid.is_empty()).ok_or(TopicRefused::NoRequestId)
}

impl Filter {
    /// What `device` means by subscribing to `filter`.
    pub(crate) fn parse(filter: &str, device: &str) -> Result<Self, TopicRefused> {
        match filter {
            "$iothub/twin/res/#" => return Ok(Self::TwinAnswers),
            "$iothub/twin/PATCH/properties/desired/#" => return Ok(Self::Desired),
            "$iothub/methods/POST/#" => return Ok(Self::Methods),
            _ => {}
        }
        let rest = filter.strip_prefix("devices/").ok_or(TopicRefused::Unknown)?;
        match rest.strip_prefix(device).and_then(|rest| rest.strip_prefix('/')) {
            Some("messages/devicebound/#") => Ok(Self::Messages),
            Some(rest) if rest.starts_with("modules/") => Err(TopicRefused::Module),
            Some(_) => Err(TopicRefused::Unknown),
            None if rest.ends_with("/messages/devicebound/#") => Err(TopicRefused::Foreign),
            None => Err(TopicRefused::Unknown),
        }
    }
}

/// Where a message to `device` arrives.
pub(crate) fn devicebound(device: &str, bag: &str) -> String {
    format!("devices/{device}/messages/devicebound/{bag}")
}

/// Where the answer to a twin request arrives.
pub(crate) fn twin_answer(status: u32, rid: &str, version: Option<u64>) -> String {
    match version {
        None => format!("$iothub/twin/res/{status}/?$rid={rid}"),
        Some(version) => format!("$iothub/twin/res/{status}/?$rid={rid}&$version={version}"),
    }
}

/// Where a change of desired properties arrives.
pub(crate) fn desired(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

/// Where a direct method arrives.
pub(crate) fn method(name: &str, id: Uuid) -> String {
    format!("$iothub/methods/POST/{}/?$rid={id}", utf8_percent_encode(name, IN_METHOD_NAME))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_device_publishes_its_events_twin_requests_and_answers() {
        let id = Uuid::new_v4();
        let answer = format!("$iothub/methods/res/-200/?$rid={id}");
        for (topic, published) in [
            ("devices/d#1/messages/events/", Published::Event { bag: "" }),
            ("devices/d#1/messages/events", Published::Event { bag: "" }),
            ("devices/d#1/messages/events/a=b&%24.mid=x", Published::Event { bag: "a=b&%24.mid=x" }),
            ("$iothub/twin/GET/?$rid=a-b", Published::TwinGet { rid: "a-b" }),
            ("$iothub/twin/PATCH/properties/reported/?$rid=7&x=y", Published::TwinReported { rid: "7" }),
            (answer.as_str(), Published::MethodAnswer { status: -200, id }),
            ("$iothub/methods/res/200/?$rid=1", Published::MethodAnswer { status: 200, id: Uuid::nil() }),
        ] {
            assert_eq!(Published::parse(topic, "d#1"), Ok(published), "{topic}");
        }
    }

    #[test]
    fn other_topics_are_refused_each_for_its_reason() {
        for (topic, why) in [
            ("", TopicRefused::Unknown),
            ("telemetry", TopicRefused::Unknown),
            ("devices/d/messages/devicebound/", TopicRefused::Unknown),
            ("devices/d/messages/eventsx", TopicRefused::Unknown),
            ("devices/e/messages/events/", TopicRefused::Foreign),
            ("devices/dd/messages/events/", TopicRefused::Foreign),
            ("devices/d/modules/m/messages/events/", TopicRefused::Module),
            ("$iothub/twin/GET/", TopicRefused::NoRequestId),
            ("$iothub/twin/GET/?$rid=", TopicRefused::NoRequestId),
            ("$iothub/methods/res/ok/?$rid=1", TopicRefused::Status),
            ("$iothub/methods/res/200", TopicRefused::NoRequestId),
            ("$iothub/twin/PATCH/properties/desired/?$rid=1", TopicRefused::Unknown),
        ] {
            assert_eq!(Published::parse(topic, "d"), Err(why), "{topic}");
        }
    }

    #[test]
    fn four_filters_can_be_subscribed_to_and_no_other() {
        for (filter, means) in [
            ("devices/d/messages/devicebound/#", Filter::Messages),
            ("$iothub/twin/res/#", Filter::TwinAnswers),
            ("$iothub/twin/PATCH/properties/desired/#", Filter::Desired),
            ("$iothub/methods/POST/#", Filter::Methods),
        ] {
            assert_eq!(Filter::parse(filter, "d"), Ok(means), "{filter}");
        }
        for (filter, why) in [
            ("#", TopicRefused::Unknown),
            ("$iothub/#", TopicRefused::Unknown),
            ("devices/+/messages/devicebound/#", TopicRefused::Foreign),
            ("devices/e/messages/devicebound/#", TopicRefused::Foreign),
            ("devices/d/messages/devicebound/+", TopicRefused::Unknown),
            ("devices/d/modules/m/inputs/#", TopicRefused::Module),
        ] {
            assert_eq!(Filter::parse(filter, "d"), Err(why), "{filter}");
        }
    }

    #[test]
    fn a_methods_name_cannot_change_the_shape_of_its_topic() {
        let topic = method("a/b?c#+d é", Uuid::nil());
        assert_eq!(topic, "$iothub/methods/POST/a%2Fb%3Fc%23%2Bd%20%C3%A9/?$rid=00000000-0000-0000-0000-000000000000");
    }
}
