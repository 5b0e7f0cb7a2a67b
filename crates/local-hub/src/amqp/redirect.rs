//! Readers that ask the hub's own host for events are told where to read (reference, 6.1).

use hubward_amqp::performative::{Error, condition};
use hubward_amqp::types::{Symbol, Value};

use crate::state::State;

/// The refusal that names the Event Hubs-compatible endpoint, here the same host and port.
pub(super) fn redirect(rest: &[String], state: &State) -> Error {
    let (host, port) = (state.names.host.as_str(), state.amqps_port);
    let rest = if rest.is_empty() { "$management".to_owned() } else { rest.join("/") };
    // Clients look for the port in the address, even the standard one.
    let address = format!("amqps://{host}:{port}/{}/{rest}", state.names.hub);
    let info = vec![
        (Symbol::from_static("hostname"), Value::String(host.into())),
        (Symbol::from_static("network-host"), Value::String(host.into())),
        (Symbol::from_static("port"), Value::Int(i32::from(port))),
        (Symbol::from_static("address"), Value::String(address.into())),
    ];
    Error::bare(condition::LINK_REDIRECT).with_info(info)
}
