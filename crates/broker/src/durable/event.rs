//! Records of kind *session*, to and from bytes.
//!
//! All is in the note, in the format of [`note`](crate::note): entries of tag, length and value, of which a reader skips
//! those that it does not know. What a session was told in a record of another kind (a message of quality of service 2
//! with its packet id) stands in that record's note.

use bytes::{BufMut, Bytes, BytesMut};
use hubward_model::{Draft, Kind, Message, Offset, Record, Timestamp};
use hubward_mqtt::protocol::PacketId;
use hubward_mqtt::{Qos, TopicFilter};

use super::image::{Change, Flight, Image, Out, Taken, Took};
use crate::auth::Owner;
use crate::inbox::SharedPick;
use crate::note::{self, GroupId, Note, SessionId};
use crate::outgoing::{Outgoing, qos, record_qos};
use crate::session::Held;
use crate::tree::Options;

mod tag {
    pub(super) const EVENT: u8 = 16;
    pub(super) const OWNER: u8 = 17;
    pub(super) const KEEP: u8 = 18;
    pub(super) const EXPIRES: u8 = 19;
    pub(super) const HELD: u8 = 20;
    pub(super) const UNRELEASED: u8 = 21;
    pub(super) const POSITION: u8 = 22;
    pub(super) const PICK: u8 = 23;
    pub(super) const FLIGHT: u8 = 24;
    pub(super) const LAST_ID: u8 = 25;
    pub(super) const DEALT: u8 = 26;
    pub(super) const AT: u8 = 27;
    pub(super) const TOOK: u8 = 28;
}

mod code {
    pub(super) const STATE: u8 = 1;
    pub(super) const ENDED: u8 = 2;
    pub(super) const OPENED: u8 = 3;
    pub(super) const CLOSED: u8 = 4;
    pub(super) const SUBSCRIBED: u8 = 5;
    pub(super) const UNSUBSCRIBED: u8 = 6;
    pub(super) const OUTGOING: u8 = 7;
    pub(super) const SNAPSHOT_BEGUN: u8 = 8;
    pub(super) const SNAPSHOT_DONE: u8 = 9;
    pub(super) const RETAINED: u8 = 10;
    pub(super) const DEALT: u8 = 11;
}

const MAX_QOS: u8 = 0b11;
const NO_LOCAL: u8 = 0b100;
const RETAIN: u8 = 0b1000;
const RELEASED: u8 = 0b1_0000;
const SHARED: u8 = 0b10_0000;

/// What a record means for sessions and retained messages.
#[derive(Debug)]
pub(crate) enum Event {
    Session(SessionId, Change),
    /// A snapshot begins with this record.
    SnapshotBegun,
    /// The snapshot that began there is complete.
    SnapshotDone {
        begun: Offset,
        /// What members of groups took whose sessions are no more.
        took: Took,
    },
    /// A retained message, written again.
    Retained(Box<Outgoing>),
    /// Every message before it that matched a shared subscription is in what was written of its member.
    Dealt(Offset),
}

impl Event {
    /// What a record says; none: nothing that is to be remembered.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        if record.kind != Kind::Session {
            let note = Note::decode(&record.note);
            return Some(Self::Session(note.session?, Change::Received(note.received?)));
        }
        let fields = Fields::read(&record.note);
        let session = |change| Some(Self::Session(fields.note.session?, change));
        match fields.event {
            None => session(Change::Released(fields.note.released?)),
            Some(code::STATE) => session(Change::State(Box::new(fields.image()?))),
            Some(code::ENDED) => session(Change::Ended),
            Some(code::OPENED) => session(Change::Opened { keep: fields.keep? }),
            Some(code::CLOSED) => session(Change::Closed { expires: fields.expires?, out: fields.out()? }),
            Some(code::SUBSCRIBED) => session(Change::Subscribed(fields.held)),
            Some(code::UNSUBSCRIBED) => {
                let list = fields.held.into_iter().map(|held| (held.filter, held.group)).collect();
                Some(Self::Session(fields.note.session?, Change::Unsubscribed(list)))
            }
            Some(code::OUTGOING) => session(Change::Outgoing(fields.out()?)),
            Some(code::SNAPSHOT_BEGUN) => Some(Self::SnapshotBegun),
            Some(code::SNAPSHOT_DONE) => Some(Self::SnapshotDone { begun: fields.at?, took: fields.took }),
            Some(code::RETAINED) => {
                let copy = Outgoing::of(record);
                Some(Self::Retained(Box::new(Outgoing { offset: fields.at?, expires: fields.expires, ..copy })))
            }
            Some(code::DEALT) => Some(Self::Dealt(fields.at?)),
            // Of a newer broker.
            Some(_) => None,
        }
    }

    /// The record that says so.
    pub(crate) fn draft(&self) -> Draft {
        match self {
            Self::Session(id, change) => draft(note_of(*id, change)),
            Self::SnapshotBegun => draft(begin(code::SNAPSHOT_BEGUN, None).freeze()),
            Self::SnapshotDone { begun, took } => {
                let mut out = begin(code::SNAPSHOT_DONE, None);
                note::put(&mut out, tag::AT, &begun.to_raw().to_be_bytes());
                put_took(&mut out, took);
                draft(out.freeze())
            }
            Self::Retained(message) => Self::retained(message),
            Self::Dealt(offset) => {
                let mut out = begin(code::DEALT, None);
                note::put(&mut out, tag::AT, &offset.to_raw().to_be_bytes());
                draft(out.freeze())
            }
        }
    }
}

fn draft(note: Bytes) -> Draft {
    Draft {
        kind: Kind::Session,
        received_at: Timestamp::now(),
        device: None,
        only_for: None,
        message: Message::default(),
        note,
    }
}

fn begin(code: u8, session: Option<SessionId>) -> BytesMut {
    let mut out = Note { session, ..Note::default() }.begin();
    note::put(&mut out, tag::EVENT, &[code]);
    out
}

fn note_of(id: SessionId, change: &Change) -> Bytes {
    let with = |code| begin(code, Some(id));
    let out = match change {
        Change::Received(packet_id) => {
            return Note { session: Some(id), received: Some(*packet_id), ..Note::default() }.encode();
        }
        Change::Released(packet_id) => {
            return Note { session: Some(id), released: Some(*packet_id), ..Note::default() }.encode();
        }
        Change::State(image) => {
            let mut out = with(code::STATE);
            put_image(&mut out, image);
            out
        }
        Change::Ended => with(code::ENDED),
        Change::Opened { keep } => {
            let mut out = with(code::OPENED);
            note::put(&mut out, tag::KEEP, &keep.to_be_bytes());
            out
        }
        Change::Closed { expires, out: outgoing } => {
            let mut out = with(code::CLOSED);
            note::put(&mut out, tag::EXPIRES, &expires.as_millis().to_be_bytes());
            put_out(&mut out, outgoing);
            out
        }
        Change::Subscribed(list) => {
            let mut out = with(code::SUBSCRIBED);
            list.iter().for_each(|held| put_held(&mut out, held));
            out
        }
        Change::Unsubscribed(list) => {
            let mut out = with(code::UNSUBSCRIBED);
            for (filter, group) in list {
                let held = Held::new(filter.clone(), group.clone(), Options::default(), Offset::START);
                put_held(&mut out, &held);
            }
            out
        }
        Change::Outgoing(outgoing) => {
            let mut out = with(code::OUTGOING);
            put_out(&mut out, outgoing);
            out
        }
    };
    out.freeze()
}

fn put_image(out: &mut BytesMut, image: &Image) {
    let (kind, id) = match &image.owner {
        Owner::Device(id) => (0, id.as_str()),
        Owner::App(id) => (1, id.as_str()),
    };
    note::put(out, tag::OWNER, &[&[kind], id.as_bytes()].concat());
    note::put(out, tag::KEEP, &image.keep.to_be_bytes());
    if let Some(expires) = image.expires {
        note::put(out, tag::EXPIRES, &expires.as_millis().to_be_bytes());
    }
    image.subscriptions.iter().for_each(|held| put_held(out, held));
    for (id, taken) in &image.unreleased {
        let mut value = [0; 10];
        value[..2].copy_from_slice(&id.to_be_bytes());
        value[2..].copy_from_slice(&taken.offset.to_raw().to_be_bytes());
        note::put(out, tag::UNRELEASED, &value);
    }
    put_out(out, &image.out);
    put_took(out, &image.took);
}

fn put_took(out: &mut BytesMut, took: &Took) {
    // A field holds 64 KiB.
    let all: Vec<_> = took.iter().collect();
    for some in all.chunks(4_000) {
        let value: Vec<u8> = some
            .iter()
            .flat_map(|(offset, group)| [offset.to_raw().to_be_bytes(), group.to_bytes()])
            .flatten()
            .collect();
        note::put(out, tag::TOOK, &value);
    }
}

fn put_held(out: &mut BytesMut, held: &Held) {
    let Options { qos, no_local, retain_as_published, id } = held.options;
    let mut value = BytesMut::new();
    value.put_u8(
        u8::from(qos)
            | if no_local { NO_LOCAL } else { 0 }
            | if retain_as_published { RETAIN } else { 0 }
            | if held.group.is_some() { SHARED } else { 0 },
    );
    value.put_u32(id.unwrap_or(0));
    value.put_u64(held.since.to_raw());
    let group = held.group.as_deref().unwrap_or_default();
    // A session's filters and groups are bounded far below what the field holds.
    value.put_u16(u16::try_from(group.len()).unwrap_or(u16::MAX));
    value.put_slice(group.as_bytes());
    value.put_slice(held.filter.as_str().as_bytes());
    note::put(out, tag::HELD, &value);
}

fn put_out(out: &mut BytesMut, outgoing: &Out) {
    note::put(out, tag::POSITION, &outgoing.position.to_raw().to_be_bytes());
    note::put(out, tag::LAST_ID, &outgoing.last_id.to_be_bytes());
    note::put(out, tag::DEALT, &outgoing.dealt.to_raw().to_be_bytes());
    for pick in &outgoing.picks {
        let mut value = BytesMut::new();
        value.put_u64(pick.offset.to_raw());
        value.put_u8(pick.qos.into());
        value.put_slice(&pick.group.to_bytes());
        pick.ids.iter().for_each(|id| value.put_u32(*id));
        note::put(out, tag::PICK, &value);
    }
    for flight in &outgoing.flights {
        let mut value = BytesMut::new();
        value.put_u16(flight.id.get());
        value.put_u8(
            u8::from(flight.qos)
                | if flight.retain { RETAIN } else { 0 }
                | if flight.released { RELEASED } else { 0 }
                | if flight.group.is_some() { SHARED } else { 0 },
        );
        value.put_u64(flight.offset.to_raw());
        if let Some(group) = flight.group {
            value.put_slice(&group.to_bytes());
        }
        flight.ids.iter().for_each(|id| value.put_u32(*id));
        note::put(out, tag::FLIGHT, &value);
    }
}

impl Event {
    /// The record that writes a retained message again.
    pub(crate) fn retained(message: &Outgoing) -> Draft {
        let properties = message.properties.as_deref().cloned().unwrap_or_default();
        let note = Note {
            session: message.publisher,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data,
            payload_is_text: properties.payload_is_text,
            ..Note::default()
        };
        let mut out = note.begin();
        note::put(&mut out, tag::EVENT, &[code::RETAINED]);
        note::put(&mut out, tag::AT, &message.offset.to_raw().to_be_bytes());
        if let Some(expires) = message.expires {
            note::put(&mut out, tag::EXPIRES, &expires.as_millis().to_be_bytes());
        }
        Draft {
            message: Message {
                topic: message.topic.clone(),
                payload: message.payload.clone(),
                qos: record_qos(message.qos),
                retain: true,
                content_type: properties.content_type,
                user_properties: properties.user_properties,
            },
            ..draft(out.freeze())
        }
    }
}

/// All fields of a note, as far as they can be read.
#[derive(Default)]
struct Fields {
    note: Note,
    event: Option<u8>,
    owner: Option<Owner>,
    keep: Option<u32>,
    expires: Option<Timestamp>,
    held: Vec<Held>,
    unreleased: Vec<(PacketId, Offset)>,
    position: Option<Offset>,
    picks: Vec<SharedPick>,
    flights: Vec<Flight>,
    last_id: u16,
    dealt: Option<Offset>,
    at: Option<Offset>,
    took: Took,
}

impl Fields {
    fn read(bytes: &[u8]) -> Self {
        let mut fields = Self { note: Note::decode(bytes), ..Self::default() };
        for (tag, value) in note::entries(bytes) {
            match tag {
                tag::EVENT => fields.event = value.first().copied(),
                tag::OWNER => fields.owner = owner(value),
                tag::KEEP => fields.keep = value.try_into().ok().map(u32::from_be_bytes),
                tag::EXPIRES => {
                    fields.expires = value.try_into().ok().map(i64::from_be_bytes).map(Timestamp::from_millis);
                }
                tag::HELD => fields.held.extend(held(value)),
                tag::UNRELEASED => fields.unreleased.extend(unreleased(value)),
                tag::POSITION => fields.position = offset(value),
                tag::PICK => fields.picks.extend(pick(value)),
                tag::FLIGHT => fields.flights.extend(flight(value)),
                tag::LAST_ID => fields.last_id = value.try_into().map_or(0, u16::from_be_bytes),
                tag::DEALT => fields.dealt = offset(value),
                tag::AT => fields.at = offset(value),
                tag::TOOK => fields.took.extend(took(value)),
                _ => {}
            }
        }
        fields
    }

    fn out(&self) -> Option<Out> {
        let position = self.position?;
        Some(Out {
            position,
            picks: self.picks.clone(),
            flights: self.flights.clone(),
            last_id: self.last_id,
            dealt: self.dealt.unwrap_or(position),
        })
    }

    fn image(&self) -> Option<Image> {
        let taken = |(id, offset): &(PacketId, Offset)| (id.get(), Taken { offset: *offset, waiter: None });
        Some(Image {
            owner: self.owner.clone()?,
            keep: self.keep?,
            expires: self.expires,
            subscriptions: self.held.clone(),
            unreleased: self.unreleased.iter().map(taken).collect(),
            out: self.out()?,
            took: self.took.clone(),
        })
    }
}

fn owner(value: &[u8]) -> Option<Owner> {
    let (kind, id) = value.split_first()?;
    let id = std::str::from_utf8(id).ok()?;
    match kind {
        0 => id.parse().ok().map(Owner::Device),
        1 => Some(Owner::App(id.to_owned())),
        _ => None,
    }
}

fn offset(value: &[u8]) -> Option<Offset> {
    value.try_into().ok().map(u64::from_be_bytes).map(Offset::from_raw)
}

fn ids(value: &[u8]) -> Vec<u32> {
    value.as_chunks().0.iter().map(|id| u32::from_be_bytes(*id)).collect()
}

fn held(value: &[u8]) -> Option<Held> {
    let (flags, rest) = value.split_first()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (since, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (group, filter) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let group = std::str::from_utf8(group).ok()?;
    let filter: TopicFilter = std::str::from_utf8(filter).ok()?.parse().ok()?;
    let id = u32::from_be_bytes(*id);
    let options = Options {
        qos: level(*flags)?,
        no_local: flags & NO_LOCAL != 0,
        retain_as_published: flags & RETAIN != 0,
        id: (id > 0).then_some(id),
    };
    let group = (flags & SHARED != 0).then(|| group.to_owned());
    Some(Held::new(filter, group, options, Offset::from_raw(u64::from_be_bytes(*since))))
}

fn unreleased(value: &[u8]) -> Option<(PacketId, Offset)> {
    let (id, at) = value.split_first_chunk()?;
    Some((PacketId::new(u16::from_be_bytes(*id))?, offset(at)?))
}

fn pick(value: &[u8]) -> Option<SharedPick> {
    let (at, rest) = value.split_first_chunk::<8>()?;
    let (flags, rest) = rest.split_first()?;
    let (group, rest) = rest.split_first_chunk()?;
    Some(SharedPick { group: GroupId::from_bytes(*group), offset: offset(at)?, qos: level(*flags)?, ids: ids(rest) })
}

fn flight(value: &[u8]) -> Option<Flight> {
    let (id, rest) = value.split_first_chunk()?;
    let (flags, rest) = rest.split_first()?;
    let (at, rest) = rest.split_first_chunk::<8>()?;
    let (group, rest) = match flags & SHARED {
        0 => (None, rest),
        _ => rest.split_first_chunk().map(|(group, rest)| (Some(GroupId::from_bytes(*group)), rest))?,
    };
    Some(Flight {
        id: PacketId::new(u16::from_be_bytes(*id))?,
        group,
        qos: level(*flags)?,
        released: flags & RELEASED != 0,
        retain: flags & RETAIN != 0,
        offset: offset(at)?,
        ids: ids(rest),
    })
}

fn took(value: &[u8]) -> impl Iterator<Item = (Offset, GroupId)> {
    let number = |bytes: &[u8; 8]| Offset::from_raw(u64::from_be_bytes(*bytes));
    let (pairs, _) = value.as_chunks::<8>().0.as_chunks::<2>();
    pairs.iter().map(move |[offset, group]| (number(offset), GroupId::from_bytes(*group)))
}

fn level(flags: u8) -> Option<Qos> {
    hubward_model::Qos::try_from(flags & MAX_QOS).ok().map(qos)
}
