use bytes::BytesMut;

use super::{code, described};
use crate::types::{Composite, DecodeError, Fields, Symbol, Text, Value, encode};

/// Where a link's messages come from (AMQP 1.0, 3.5.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// The node.
    pub address: Option<Text>,
    /// What survives of the terminus: 0 nothing, 1 its configuration, 2 unsettled state as well.
    pub durable: Option<u32>,
    /// From when the timeout counts.
    pub expiry_policy: Option<Symbol>,
    /// Seconds the terminus is kept.
    pub timeout: Option<u32>,
    /// Asks the peer to make a node and name it.
    pub dynamic: Option<bool>,
    /// Properties of that node.
    pub dynamic_node_properties: Fields,
    /// `move` or `copy`.
    pub distribution_mode: Option<Symbol>,
    /// What of the node's messages is wanted; Event Hubs takes the position to start from here.
    pub filter: Fields,
    /// The outcome of deliveries that the receiver does not settle.
    pub default_outcome: Value,
    /// Outcomes the source knows.
    pub outcomes: Vec<Symbol>,
    /// Extensions.
    pub capabilities: Vec<Symbol>,
}

/// Where a link's messages go (AMQP 1.0, 3.5.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// The node.
    pub address: Option<Text>,
    /// What survives of the terminus: 0 nothing, 1 its configuration, 2 unsettled state as well.
    pub durable: Option<u32>,
    /// From when the timeout counts.
    pub expiry_policy: Option<Symbol>,
    /// Seconds the terminus is kept.
    pub timeout: Option<u32>,
    /// Asks the peer to make a node and name it.
    pub dynamic: Option<bool>,
    /// Properties of that node.
    pub dynamic_node_properties: Fields,
    /// Extensions.
    pub capabilities: Vec<Symbol>,
}

impl Source {
    /// A source with an address.
    pub fn at(address: impl Into<Text>) -> Source {
        Source { address: Some(address.into()), ..Source::default() }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::SOURCE, 11, |out| {
            encode::optional_text(out, self.address.as_ref());
            encode::optional(out, self.durable.as_ref(), |out, n| encode::uint(out, *n));
            encode::optional(out, self.expiry_policy.as_ref(), encode::symbol);
            encode::optional(out, self.timeout.as_ref(), |out, n| encode::uint(out, *n));
            encode::optional(out, self.dynamic.as_ref(), |out, b| encode::boolean(out, *b));
            encode::fields(out, &self.dynamic_node_properties);
            encode::optional(out, self.distribution_mode.as_ref(), encode::symbol);
            encode::fields(out, &self.filter);
            encode::value(out, &self.default_outcome);
            encode::symbols(out, &self.outcomes);
            encode::symbols(out, &self.capabilities);
        });
    }

    pub(super) fn from_field(parent: &mut Composite<'_>) -> Result<Option<Source>, DecodeError> {
        let Some(mut fields) = described(parent.composite()?, code::SOURCE, "source")? else { return Ok(None) };
        Ok(Some(Source {
            address: fields.text()?,
            durable: fields.uint()?,
            expiry_policy: fields.symbol()?,
            timeout: fields.uint()?,
            dynamic: fields.boolean()?,
            dynamic_node_properties: fields.fields()?,
            distribution_mode: fields.symbol()?,
            filter: fields.fields()?,
            default_outcome: fields.value()?,
            outcomes: fields.symbols()?,
            capabilities: fields.symbols()?,
        }))
    }
}

impl Target {
    /// A target with an address.
    pub fn at(address: impl Into<Text>) -> Target {
        Target { address: Some(address.into()), ..Target::default() }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::TARGET, 7, |out| {
            encode::optional_text(out, self.address.as_ref());
            encode::optional(out, self.durable.as_ref(), |out, n| encode::uint(out, *n));
            encode::optional(out, self.expiry_policy.as_ref(), encode::symbol);
            encode::optional(out, self.timeout.as_ref(), |out, n| encode::uint(out, *n));
            encode::optional(out, self.dynamic.as_ref(), |out, b| encode::boolean(out, *b));
            encode::fields(out, &self.dynamic_node_properties);
            encode::symbols(out, &self.capabilities);
        });
    }

    pub(super) fn from_field(parent: &mut Composite<'_>) -> Result<Option<Target>, DecodeError> {
        let Some(mut fields) = described(parent.composite()?, code::TARGET, "target")? else { return Ok(None) };
        Ok(Some(Target {
            address: fields.text()?,
            durable: fields.uint()?,
            expiry_policy: fields.symbol()?,
            timeout: fields.uint()?,
            dynamic: fields.boolean()?,
            dynamic_node_properties: fields.fields()?,
            capabilities: fields.symbols()?,
        }))
    }
}
