//! Which frame goes where.

use bytes::{Buf, Bytes, BytesMut};

use super::error::ProtocolError;
use super::event::Event;
use super::session::{Session, SessionState};
use super::{Connection, RemoteChannel, Stage};
use crate::frame::{self, Frame};
use crate::performative::{Begin, Performative};
use crate::sasl::SaslFrame;

impl Connection {
    pub(super) fn receive_frames(&mut self, input: &mut BytesMut) -> Result<(), ProtocolError> {
        loop {
            match self.stage {
                Stage::Closed => {
                    input.clear();
                    return Ok(());
                }
                Stage::SaslDecision => return Ok(()),
                Stage::Header { sasl, amqp } => {
                    let Some(bytes) = input.first_chunk().copied() else { return Ok(()) };
                    input.advance(8);
                    self.on_header(bytes, sasl, amqp)?;
                }
                _ => {
                    let Some(frame) = frame::take(input, self.settings.max_frame_size)? else { return Ok(()) };
                    self.on_frame(frame)?;
                }
            }
            self.idle.on_received();
        }
    }

    fn on_frame(&mut self, frame: Frame) -> Result<(), ProtocolError> {
        let sasl_stage = matches!(self.stage, Stage::SaslMechanisms | Stage::SaslInit | Stage::SaslOutcome);
        match frame.kind {
            frame::SASL if sasl_stage => self.on_sasl_frame(SaslFrame::decode(&frame.body)?),
            frame::AMQP if !sasl_stage => {
                if frame.body.is_empty() {
                    return Ok(()); // a heartbeat
                }
                let (performative, payload) = Performative::decode(&frame.body)?;
                self.on_performative(frame.channel, performative, payload)
            }
            _ => Err(ProtocolError::Unexpected { what: "a frame of this type" }),
        }
    }

    fn on_performative(
        &mut self,
        channel: u16,
        performative: Performative,
        payload: Bytes,
    ) -> Result<(), ProtocolError> {
        match (self.stage, performative) {
            (Stage::AwaitOpen, Performative::Open(open)) => self.on_open(open),
            (_, Performative::Open(_)) => return Err(ProtocolError::Unexpected { what: "a second open" }),
            (Stage::CloseSent, Performative::Close(close)) => {
                self.stage = Stage::Closed;
                self.io.events.push_back(Event::Closed { error: close.error });
            }
            (Stage::CloseSent, _) => {} // 2.4.6: nothing else matters any more
            (_, Performative::Close(close)) => {
                self.send_open();
                self.send_close(None);
                self.stage = Stage::Closed;
                self.io.events.push_back(Event::Closed { error: close.error });
            }
            (Stage::AwaitOpen, _) => return Err(ProtocolError::Unexpected { what: "a frame before the open" }),
            (_, Performative::Begin(begin)) => return self.on_begin(channel, &begin),
            (_, performative) => return self.on_session_frame(channel, performative, payload),
        }
        Ok(())
    }

    fn on_begin(&mut self, remote: u16, begin: &Begin) -> Result<(), ProtocolError> {
        if remote > self.settings.channel_max {
            return Err(ProtocolError::Channel(remote));
        }
        if let Some(RemoteChannel::Active(_)) = self.remote_channels.get(usize::from(remote)) {
            return Err(ProtocolError::ChannelInUse(remote));
        }
        let channel = match begin.remote_channel {
            Some(ours) => {
                let session = self.sessions.get_mut(usize::from(ours)).and_then(Option::as_deref_mut);
                let waiting = session.filter(|session| session.remote_channel.is_none());
                let session = waiting.ok_or(ProtocolError::Channel(ours))?;
                let ended = session.state == SessionState::EndSent;
                session.on_begin(remote, begin);
                if ended {
                    session.state = SessionState::EndSent;
                } else {
                    self.io.events.push_back(Event::Begun { channel: session.channel });
                }
                session.channel
            }
            None => {
                let channel = self.free_channel().map_err(|_| ProtocolError::Channel(remote))?;
                let mut session = Session::new(channel, SessionState::Active, &self.settings);
                session.on_begin(remote, begin);
                session.send_begin(&mut self.io, &self.settings);
                self.insert_session(session);
                self.io.events.push_back(Event::Begun { channel });
                channel
            }
        };
        let index = usize::from(remote);
        if index >= self.remote_channels.len() {
            self.remote_channels.resize(index + 1, RemoteChannel::Unused);
        }
        self.remote_channels[index] = RemoteChannel::Active(channel.0);
        Ok(())
    }

    fn on_session_frame(
        &mut self,
        remote: u16,
        performative: Performative,
        payload: Bytes,
    ) -> Result<(), ProtocolError> {
        let ours = match self.remote_channels.get(usize::from(remote)) {
            Some(RemoteChannel::Active(ours)) => usize::from(*ours),
            Some(RemoteChannel::Ended) => return Ok(()),
            Some(RemoteChannel::Unused) | None => return Err(ProtocolError::Channel(remote)),
        };
        let Some(session) = self.sessions.get_mut(ours).and_then(Option::as_deref_mut) else { return Ok(()) };
        let io = &mut self.io;
        if let Performative::End(end) = performative {
            if session.state != SessionState::EndSent {
                session.send_end(io, None);
            }
            io.events.push_back(Event::Ended { channel: session.channel, error: end.error });
            self.sessions[ours] = None;
            self.remote_channels[usize::from(remote)] = RemoteChannel::Ended;
            return Ok(());
        }
        if session.state == SessionState::EndSent {
            return Ok(()); // 2.5.5: discarded
        }
        match performative {
            Performative::Transfer(transfer) => session.on_transfer(io, &self.settings, transfer, payload)?,
            Performative::Disposition(disposition) => session.on_disposition(io, disposition),
            Performative::Flow(flow) => session.on_flow(io, &flow),
            Performative::Attach(attach) => {
                self.generation = self.generation.wrapping_add(1);
                session.on_attach(io, &self.settings, self.generation, attach)?;
            }
            Performative::Detach(detach) => session.on_detach(io, detach),
            Performative::Open(_) | Performative::Begin(_) | Performative::End(_) | Performative::Close(_) => {}
        }
        Ok(())
    }
}
