//! What the address of a link means.

use crate::names::{Names, without_port};

/// What a link can be attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Where tokens are put.
    Cbs,
    /// A place of a device's.
    Device {
        /// The device's id as it stands in the address, perhaps percent-encoded.
        device: String,
        /// Which.
        place: Place,
    },
    /// A place of a module's, which this hub has not.
    Module,
    /// Where services send messages to devices.
    Commands,
    /// Where services hear what became of those.
    Feedback,
    /// Where services would hear of uploaded files, which this hub has not.
    FileNotifications,
    /// Events under the hub's own host: readers are sent elsewhere, with this rest of the path.
    HubEvents {
        /// `$management`, or `ConsumerGroups/{group}/Partitions/{number}`.
        rest: Vec<String>,
    },
    /// Where readers ask what there is to read.
    Management,
    /// Events of one partition.
    Partition {
        /// The consumer group.
        group: String,
        /// The partition, as it was written.
        partition: String,
    },
    /// Nothing this hub has.
    Unknown,
}

/// What a device can attach to (reference, 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Its messages to the hub.
    Events,
    /// Messages to it.
    Messages,
    /// Its twin.
    Twin,
    /// Its direct methods.
    Methods,
}

impl Place {
    fn of(rest: &[&str]) -> Option<Self> {
        match rest {
            ["messages", "events"] => Some(Self::Events),
            ["messages", "devicebound"] => Some(Self::Messages),
            ["twin"] => Some(Self::Twin),
            ["methods", "devicebound"] => Some(Self::Methods),
            _ => None,
        }
    }

    /// The path below the hub that a token must cover.
    pub(super) fn path(self, device_id: &str) -> Vec<&str> {
        let rest: &[&str] = match self {
            Self::Events => &["messages", "events"],
            Self::Messages => &["messages", "devicebound"],
            Self::Twin => &["twin"],
            Self::Methods => &["methods", "devicebound"],
        };
        [&["devices", device_id], rest].concat()
    }
}

impl Node {
    /// Reads an address: a path, or a whole URI with one of the hub's hosts and perhaps a port.
    pub(super) fn parse(address: &str, names: &Names) -> Self {
        let path = match address.split_once("://") {
            None => address,
            Some((_, rest)) => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                if !names.answers_to(without_port(authority)) {
                    return Self::Unknown;
                }
                path
            }
        };
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let entity = names.hub.to_ascii_lowercase();
        match lower.as_slice() {
            ["$cbs"] => Self::Cbs,
            ["$management"] => Self::Management,
            ["devices", _, "modules", _, rest @ ..] if Place::of(rest).is_some() => Self::Module,
            ["devices", _, rest @ ..] => match Place::of(rest) {
                Some(place) => Self::Device { device: segments[1].to_owned(), place },
                None => Self::Unknown,
            },
            ["messages", "devicebound"] => Self::Commands,
            ["messages", "servicebound", "feedback"] => Self::Feedback,
            ["messages", "servicebound", "filenotifications"] => Self::FileNotifications,
            ["messages", "events", ..] => {
                Self::HubEvents { rest: segments[2..].iter().map(|segment| (*segment).to_owned()).collect() }
            }
            [first, "$management"] if *first == entity => Self::Management,
            [first, "consumergroups", _, "partitions", _] if *first == entity => {
                Self::Partition { group: segments[2].to_owned(), partition: segments[4].to_owned() }
            }
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_understood() {
        let names = Names::new("hub1", "localhost").unwrap();
        let at = |id: &str, place| Node::Device { device: id.to_owned(), place };
        let device = |id: &str| at(id, Place::Events);
        let partition = Node::Partition { group: "$Default".to_owned(), partition: "0".to_owned() };
        for (address, node) in [
            ("$cbs", Node::Cbs),
            ("/devices/d1/messages/events", device("d1")),
            ("/devices/d1/messages/events/", device("d1")),
            ("/Devices/D1/Messages/Events", device("D1")),
            ("amqps://hub1.azure-devices.net/devices/d%231/messages/events", device("d%231")),
            ("amqps://localhost:5671/devices/d1/messages/events", device("d1")),
            ("amqps://elsewhere/devices/d1/messages/events", Node::Unknown),
            ("/devices/d1/messages/devicebound", at("d1", Place::Messages)),
            ("amqps://localhost:5671/devices/d1/messages/deviceBound", at("d1", Place::Messages)),
            ("/devices/d1/twin", at("d1", Place::Twin)),
            ("/devices/d1/methods/devicebound", at("d1", Place::Methods)),
            ("/devices/d1/other", Node::Unknown),
            ("/devices/d1/modules/m/messages/events", Node::Module),
            ("/devices/d1/modules/m/twin", Node::Module),
            ("/messages/devicebound", Node::Commands),
            ("amqps://hub1.azure-devices.net/messages/devicebound", Node::Commands),
            ("/messages/serviceBound/feedback", Node::Feedback),
            ("/messages/servicebound/filenotifications", Node::FileNotifications),
            ("hub1/ConsumerGroups/$Default/Partitions/0", partition.clone()),
            ("amqps://localhost/HUB1/consumergroups/$Default/partitions/0", partition),
            ("hub2/ConsumerGroups/$Default/Partitions/0", Node::Unknown),
            ("$management", Node::Management),
            ("amqps://localhost/hub1/$management", Node::Management),
            ("amqps://localhost/messages/events/$management", Node::HubEvents { rest: vec!["$management".to_owned()] }),
            ("", Node::Unknown),
        ] {
            assert_eq!(Node::parse(address, &names), node, "{address}");
        }
    }
}
