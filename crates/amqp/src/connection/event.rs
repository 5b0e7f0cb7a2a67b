use bytes::Bytes;

use crate::performative::{Attach, Error, Open, Outcome, ReceiverSettleMode, Role, SenderSettleMode, Source, Target};
use crate::sasl::Plain;
use crate::types::{Fields, Symbol, Text};

/// An AMQP session, by our channel number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(pub(super) u16);

/// A link. It never means another link, not even when the handle is used again: a stale one does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkRef {
    pub(super) channel: Channel,
    pub(super) handle: u32,
    pub(super) generation: u32,
}

impl LinkRef {
    /// The AMQP session the link belongs to.
    pub fn channel(self) -> Channel {
        self.channel
    }
}

/// The number of a delivery within its AMQP session and direction. It wraps around.
pub type DeliveryId = u32;

/// What happened. Events come in the order of the frames that caused them.
#[derive(Debug)]
pub enum Event {
    /// To a server: the client wants to authenticate. Answer with
    /// [`sasl_outcome`](super::Connection::sasl_outcome), then call [`receive`](super::Connection::receive) again
    /// with what is left of the input. ANONYMOUS and MSSBCBS never come here; they are accepted at once.
    Login(Login),
    /// The peer's open. Ours is in the output already; who dislikes what it says calls
    /// [`close`](super::Connection::close).
    Opened(Box<Open>),
    /// An AMQP session is ready: the peer has confirmed ours, or has begun one, which is confirmed already.
    Begun {
        /// Which.
        channel: Channel,
    },
    /// The peer wants a link. Answer with [`accept_attach`](super::Connection::accept_attach) or
    /// [`refuse_attach`](super::Connection::refuse_attach).
    AttachRequested {
        /// The link to be.
        link: LinkRef,
        /// What it asks for; `attach.role` is the peer's.
        attach: Box<Attach>,
    },
    /// The peer took a link that we asked for.
    Attached {
        /// The link.
        link: LinkRef,
        /// Its answer. A refusal has no terminus and comes as [`Event::Detached`] instead.
        attach: Box<Attach>,
    },
    /// The peer's word on the credit of a sending link.
    Credit {
        /// The link.
        link: LinkRef,
        /// How many deliveries it may send now.
        credit: u32,
        /// Send what you have and call [`drained`](super::Connection::drained).
        drain: bool,
    },
    /// After [`SendRefused::NoWindow`]: there is room again.
    Window {
        /// The AMQP session.
        channel: Channel,
    },
    /// A whole message arrived.
    Delivery {
        /// On which link.
        link: LinkRef,
        /// What.
        delivery: IncomingDelivery,
    },
    /// Deliveries of ours have ended.
    Settled {
        /// Their link.
        link: LinkRef,
        /// The first.
        first: DeliveryId,
        /// The last; all between are of this link too.
        last: DeliveryId,
        /// How.
        outcome: Outcome,
    },
    /// A link is gone: the peer detached it (which is confirmed already), confirmed our detach, or broke the
    /// link's rules. Of its unsettled deliveries nothing more is heard.
    Detached {
        /// Which.
        link: LinkRef,
        /// Why.
        error: Option<Box<Error>>,
        /// Whether for good.
        closed: bool,
    },
    /// An AMQP session has ended, and all its links with it.
    Ended {
        /// Which.
        channel: Channel,
        /// Why.
        error: Option<Box<Error>>,
    },
    /// The connection has closed: by the peer, with the peer's confirmation, or for its silence. The last event.
    Closed {
        /// Why.
        error: Option<Box<Error>>,
    },
}

/// What a client authenticates with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// User name and password.
    Plain(Plain),
    /// The TLS client certificate.
    External {
        /// Whom it wants to act as, if it says.
        identity: Option<Text>,
    },
}

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingDelivery {
    /// By which it is settled.
    pub id: DeliveryId,
    /// The sender's name for it.
    pub tag: Bytes,
    /// How the payload is encoded.
    pub message_format: u32,
    /// The encoded message. A message of one frame shares the input buffer.
    pub payload: Bytes,
    /// Whether the sender expects no disposition.
    pub settled: bool,
}

/// A message to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// A name for it, at most 32 bytes.
    pub tag: &'a [u8],
    /// How the payload is encoded.
    pub message_format: u32,
    /// The encoded message.
    pub payload: &'a [u8],
    /// Expect no disposition.
    pub settled: bool,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendRefused {
    /// The link has no credit; an [`Event::Credit`] will follow.
    #[error("the link has no credit")]
    NoCredit,
    /// The AMQP session's window is full; an [`Event::Window`] will follow.
    #[error("the window of the amqp session is full")]
    NoWindow,
    /// The peer takes no message of this size.
    #[error("a message of {size} bytes, where the peer takes {limit}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The peer's limit.
        limit: u64,
    },
    /// The delivery tag is over 32 bytes long (AMQP 1.0, 2.8.7).
    #[error("a delivery tag of {0} bytes, where 32 are allowed")]
    Tag(usize),
    /// The link is not attached, or it receives.
    #[error("the link is not open for sending")]
    Closed,
}

/// The connection is not open, or has no channel or handle left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// Not yet open, or closed.
    #[error("the connection or amqp session is not open")]
    NotOpen,
    /// The peer allows no more AMQP sessions or links.
    #[error("the peer allows no more than {0} at a time")]
    Exhausted(u64),
}

/// A link we ask for.
#[derive(Clone, Debug)]
pub struct AttachRequest {
    /// Its name: unique among our links in this direction.
    pub name: Text,
    /// Our role.
    pub role: Role,
    /// Where messages come from.
    pub source: Option<Source>,
    /// Where messages go.
    pub target: Option<Target>,
    /// How the sending end settles.
    pub snd_settle_mode: SenderSettleMode,
    /// How the receiving end settles.
    pub rcv_settle_mode: ReceiverSettleMode,
    /// The largest message a receiving link takes; the connection's setting if none.
    pub max_message_size: Option<u64>,
    /// Extensions asked for.
    pub desired_capabilities: Vec<Symbol>,
    /// Link properties.
    pub properties: Fields,
}

impl AttachRequest {
    /// A link that sends to `address` unsettled.
    pub fn sender(name: impl Into<Text>, address: impl Into<Text>) -> AttachRequest {
        let name = name.into();
        let source = Source::at(name.clone());
        AttachRequest {
            snd_settle_mode: SenderSettleMode::Unsettled,
            ..AttachRequest::new(name, Role::Sender, source, Target::at(address))
        }
    }

    /// A link that receives from `source`.
    pub fn receiver(name: impl Into<Text>, source: Source) -> AttachRequest {
        let name = name.into();
        let target = Target::at(name.clone());
        AttachRequest::new(name, Role::Receiver, source, target)
    }

    fn new(name: Text, role: Role, source: Source, target: Target) -> AttachRequest {
        AttachRequest {
            name,
            role,
            source: Some(source),
            target: Some(target),
            snd_settle_mode: SenderSettleMode::Mixed,
            rcv_settle_mode: ReceiverSettleMode::First,
            max_message_size: None,
            desired_capabilities: Vec::new(),
            properties: Fields::new(),
        }
    }
}

/// Our answer to a link the peer asks for.
#[derive(Clone, Debug)]
pub struct AttachReply {
    /// Where messages come from. Event Hubs clients want their filter echoed in it.
    pub source: Option<Source>,
    /// Where messages go.
    pub target: Option<Target>,
    /// How the sending end settles.
    pub snd_settle_mode: SenderSettleMode,
    /// How the receiving end settles.
    pub rcv_settle_mode: ReceiverSettleMode,
    /// The largest message we take on it; the connection's setting if none. On a link that sends: only told.
    pub max_message_size: Option<u64>,
    /// On a link that sends: outcomes that the peer leaves unsettled are not confirmed at once, but by
    /// [`confirm`](super::Connection::confirm), once what they say has been done.
    pub confirms_later: bool,
    /// Extensions offered.
    pub offered_capabilities: Vec<Symbol>,
    /// Link properties.
    pub properties: Fields,
}

impl AttachReply {
    /// What the peer asks for, as it asks for it. A missing source or target becomes an empty one, because an
    /// answer without is a refusal.
    pub fn echo(attach: &Attach) -> AttachReply {
        AttachReply {
            source: Some(attach.source.clone().unwrap_or_default()),
            target: Some(attach.target.clone().unwrap_or_default()),
            snd_settle_mode: attach.snd_settle_mode,
            rcv_settle_mode: attach.rcv_settle_mode,
            max_message_size: None,
            confirms_later: false,
            offered_capabilities: Vec::new(),
            properties: attach.properties.clone(),
        }
    }
}
