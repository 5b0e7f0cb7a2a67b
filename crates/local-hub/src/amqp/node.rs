//! What the address of a link means.

use crate::names::{Names, without_port};

/// What a link can be attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Where tokens are put.
    Cbs,
    /// Where a device's messages go (its id as it stands in the address).
    Telemetry {
        /// The device's id, perhaps percent-encoded.
        device: String,
    },
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
            ["devices", _, "messages", "events"] => Self::Telemetry { device: segments[1].to_owned() },
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
        let device = |id: &str| Node::Telemetry { device: id.to_owned() };
        let partition = Node::Partition { group: "$Default".to_owned(), partition: "0".to_owned() };
        for (address, node) in [
            ("$cbs", Node::Cbs),
            ("/devices/d1/messages/events", device("d1")),
            ("/devices/d1/messages/events/", device("d1")),
            ("/Devices/D1/Messages/Events", device("D1")),
            ("amqps://hub1.azure-devices.net/devices/d%231/messages/events", device("d%231")),
            ("amqps://localhost:5671/devices/d1/messages/events", device("d1")),
            ("amqps://elsewhere/devices/d1/messages/events", Node::Unknown),
            ("/devices/d1/messages/devicebound", Node::Unknown),
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
