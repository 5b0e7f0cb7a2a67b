use bytes::BytesMut;

use super::{Error, code, missing};
use crate::types::{Composite, DecodeError, Fields, Symbol, Text, encode};

/// Negotiates a connection (AMQP 1.0, 2.7.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// Names the sender.
    pub container_id: Text,
    /// The virtual host the client wants; an IoT hub is chosen by it.
    pub hostname: Option<Text>,
    /// The largest frame the sender takes.
    pub max_frame_size: u32,
    /// The highest channel number the sender takes.
    pub channel_max: u16,
    /// Milliseconds without a frame after which the sender gives up. It should name half of its threshold.
    pub idle_time_out: Option<u32>,
    /// Locales for text, outgoing.
    pub outgoing_locales: Vec<Symbol>,
    /// Locales for text, incoming.
    pub incoming_locales: Vec<Symbol>,
    /// Extensions the sender supports.
    pub offered_capabilities: Vec<Symbol>,
    /// Extensions the sender may use if the peer supports them.
    pub desired_capabilities: Vec<Symbol>,
    /// Product, version and the like.
    pub properties: Fields,
}

/// Begins an AMQP session on a channel (AMQP 1.0, 2.7.2).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Begin {
    /// In an answer: the peer's channel.
    pub remote_channel: Option<u16>,
    /// The transfer id of the first transfer to come.
    pub next_outgoing_id: u32,
    /// How many transfers the sender takes now.
    pub incoming_window: u32,
    /// How many transfers the sender may send.
    pub outgoing_window: u32,
    /// The highest handle the sender takes.
    pub handle_max: u32,
    /// Extensions the sender supports.
    pub offered_capabilities: Vec<Symbol>,
    /// Extensions the sender may use if the peer supports them.
    pub desired_capabilities: Vec<Symbol>,
    /// Whatever else.
    pub properties: Fields,
}

/// Ends an AMQP session (AMQP 1.0, 2.7.8).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    /// Why, if not as planned.
    pub error: Option<Box<Error>>,
}

/// Closes a connection (AMQP 1.0, 2.7.9).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Close {
    /// Why, if not as planned.
    pub error: Option<Box<Error>>,
}

impl Default for Open {
    fn default() -> Self {
        Open {
            container_id: Text::default(),
            hostname: None,
            max_frame_size: u32::MAX,
            channel_max: u16::MAX,
            idle_time_out: None,
            outgoing_locales: Vec::new(),
            incoming_locales: Vec::new(),
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: Fields::new(),
        }
    }
}

impl Open {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::OPEN, 10, |out| {
            encode::string(out, self.container_id.as_bytes());
            encode::optional_text(out, self.hostname.as_ref());
            encode::uint(out, self.max_frame_size);
            encode::ushort(out, self.channel_max);
            encode::optional(out, self.idle_time_out.as_ref(), |out, ms| encode::uint(out, *ms));
            encode::symbols(out, &self.outgoing_locales);
            encode::symbols(out, &self.incoming_locales);
            encode::symbols(out, &self.offered_capabilities);
            encode::symbols(out, &self.desired_capabilities);
            encode::fields(out, &self.properties);
        });
    }

    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<Open, DecodeError> {
        Ok(Open {
            container_id: fields.text()?.ok_or_else(|| missing("open", "container-id"))?,
            hostname: fields.text()?,
            max_frame_size: fields.uint()?.unwrap_or(u32::MAX),
            channel_max: fields.ushort()?.unwrap_or(u16::MAX),
            idle_time_out: fields.uint()?,
            outgoing_locales: fields.symbols()?,
            incoming_locales: fields.symbols()?,
            offered_capabilities: fields.symbols()?,
            desired_capabilities: fields.symbols()?,
            properties: fields.fields()?,
        })
    }
}

impl Begin {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::BEGIN, 8, |out| {
            encode::optional(out, self.remote_channel.as_ref(), |out, channel| encode::ushort(out, *channel));
            encode::uint(out, self.next_outgoing_id);
            encode::uint(out, self.incoming_window);
            encode::uint(out, self.outgoing_window);
            encode::uint(out, self.handle_max);
            encode::symbols(out, &self.offered_capabilities);
            encode::symbols(out, &self.desired_capabilities);
            encode::fields(out, &self.properties);
        });
    }

    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<Begin, DecodeError> {
        Ok(Begin {
            remote_channel: fields.ushort()?,
            next_outgoing_id: fields.uint()?.ok_or_else(|| missing("begin", "next-outgoing-id"))?,
            incoming_window: fields.uint()?.ok_or_else(|| missing("begin", "incoming-window"))?,
            outgoing_window: fields.uint()?.ok_or_else(|| missing("begin", "outgoing-window"))?,
            handle_max: fields.uint()?.unwrap_or(u32::MAX),
            offered_capabilities: fields.symbols()?,
            desired_capabilities: fields.symbols()?,
            properties: fields.fields()?,
        })
    }
}

impl End {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::END, 1, |out| Error::optional(out, self.error.as_deref()));
    }

    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<End, DecodeError> {
        Ok(End { error: Error::from_field(&mut fields)? })
    }
}

impl Close {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        encode::composite(out, code::CLOSE, 1, |out| Error::optional(out, self.error.as_deref()));
    }

    pub(super) fn from_fields(mut fields: Composite<'_>) -> Result<Close, DecodeError> {
        Ok(Close { error: Error::from_field(&mut fields)? })
    }
}
