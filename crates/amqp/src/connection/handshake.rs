//! Headers, SASL and open: what comes before the first AMQP session (AMQP 1.0, 2.2, 2.4 and 5.3).

use bytes::{Bytes, BytesMut};

use super::config::ClientSasl;
use super::error::ProtocolError;
use super::event::{Event, Login};
use super::{Connection, Side, Stage};
use crate::frame::{self, Header, MIN_MAX_FRAME_SIZE};
use crate::performative::Open;
use crate::sasl::{Mechanism, Plain, SaslCode, SaslFrame};
use crate::types::{Symbol, Text};

impl Connection {
    /// The first bytes a client sends.
    pub(super) fn start_client(&mut self, sasl: &ClientSasl) {
        match sasl {
            ClientSasl::None => self.send_amqp_header_and_open(),
            _ => {
                self.write_header(Header::Sasl);
                self.stage = Stage::Header { sasl: true, amqp: false };
            }
        }
    }

    /// Header and open may go together; what else follows has to know the peer's limits (2.4.1).
    fn send_amqp_header_and_open(&mut self) {
        self.write_header(Header::Amqp);
        self.send_open();
        self.stage = Stage::Header { sasl: false, amqp: true };
    }

    pub(super) fn send_open(&mut self) {
        if let Some(open) = self.own_open.take() {
            self.io.frame(0, |out| open.encode(out));
        }
    }

    pub(super) fn on_header(&mut self, bytes: [u8; 8], sasl: bool, amqp: bool) -> Result<(), ProtocolError> {
        let header = Header::from_bytes(&bytes);
        let fits = match header {
            Some(Header::Sasl) => sasl,
            Some(Header::Amqp) => amqp,
            None => false,
        };
        if !fits {
            // 2.2: who cannot speak what is asked answers with what it can, and closes.
            if matches!(self.side, Side::Server(_)) {
                self.write_header(if sasl { Header::Sasl } else { Header::Amqp });
            }
            return Err(ProtocolError::Header(bytes));
        }
        self.stage = match (&self.side, header) {
            (Side::Client(_), Some(Header::Sasl)) => Stage::SaslMechanisms,
            (Side::Server(config), Some(Header::Sasl)) => {
                let mechanisms = config.mechanisms.iter().map(|mechanism| mechanism.symbol()).collect();
                self.write_header(Header::Sasl);
                self.sasl_frame(&SaslFrame::Mechanisms(mechanisms));
                Stage::SaslInit
            }
            (Side::Client(_), _) => Stage::AwaitOpen,
            (Side::Server(_), _) => {
                self.write_header(Header::Amqp);
                Stage::AwaitOpen
            }
        };
        Ok(())
    }

    pub(super) fn on_sasl_frame(&mut self, frame: SaslFrame) -> Result<(), ProtocolError> {
        match (self.stage, frame) {
            (Stage::SaslMechanisms, SaslFrame::Mechanisms(offered)) => self.on_mechanisms(&offered),
            (Stage::SaslInit, SaslFrame::Init { mechanism, initial_response, .. }) => {
                self.on_init(mechanism, initial_response)
            }
            (Stage::SaslOutcome, SaslFrame::Outcome(SaslCode::Ok)) => {
                self.send_amqp_header_and_open();
                Ok(())
            }
            (Stage::SaslOutcome, SaslFrame::Outcome(code)) => Err(ProtocolError::LoginRefused(code)),
            (_, SaslFrame::Challenge(_)) => Err(ProtocolError::Unexpected { what: "a sasl challenge" }),
            _ => Err(ProtocolError::Unexpected { what: "a sasl frame" }),
        }
    }

    fn on_mechanisms(&mut self, offered: &[Symbol]) -> Result<(), ProtocolError> {
        let Side::Client(config) = &self.side else {
            return Err(ProtocolError::Unexpected { what: "a client's view of sasl" });
        };
        let (wanted, initial_response) = match &config.sasl {
            ClientSasl::None | ClientSasl::Anonymous => (Mechanism::Anonymous, Some(Bytes::new())),
            ClientSasl::Mssbcbs => (Mechanism::Mssbcbs, None),
            ClientSasl::Plain(plain) => (Mechanism::Plain, Some(plain.to_response())),
            ClientSasl::External => (Mechanism::External, Some(Bytes::new())),
        };
        let hostname = config.hostname.clone();
        if !offered.contains(&wanted.symbol()) {
            let offered = offered.iter().map(Symbol::as_str).collect::<Vec<_>>().join(", ");
            return Err(ProtocolError::NoMechanism { wanted: wanted.symbol(), offered });
        }
        self.sasl_frame(&SaslFrame::Init { mechanism: wanted.symbol(), initial_response, hostname });
        self.stage = Stage::SaslOutcome;
        Ok(())
    }

    fn on_init(&mut self, mechanism: Symbol, response: Option<Bytes>) -> Result<(), ProtocolError> {
        let Side::Server(config) = &self.side else {
            return Err(ProtocolError::Unexpected { what: "a sasl init" });
        };
        let known = Mechanism::from_symbol(&mechanism).filter(|known| config.mechanisms.contains(known));
        let login = match known {
            Some(Mechanism::Anonymous | Mechanism::Mssbcbs) => {
                self.send_outcome(SaslCode::Ok);
                return Ok(());
            }
            Some(Mechanism::Plain) => response.as_deref().and_then(Plain::from_response).map(Login::Plain),
            Some(Mechanism::External) => {
                let identity = response.filter(|bytes| !bytes.is_empty()).and_then(Text::from_utf8);
                Some(Login::External { identity })
            }
            None => None,
        };
        match login {
            Some(login) => {
                self.stage = Stage::SaslDecision;
                self.io.events.push_back(Event::Login(login));
                Ok(())
            }
            None => {
                self.send_outcome(SaslCode::Auth);
                Err(ProtocolError::Mechanism(mechanism.detached()))
            }
        }
    }

    pub(super) fn send_outcome(&mut self, code: SaslCode) {
        self.sasl_frame(&SaslFrame::Outcome(code));
        self.stage = match code {
            SaslCode::Ok => Stage::Header { sasl: false, amqp: true },
            _ => Stage::Closed,
        };
    }

    pub(super) fn on_open(&mut self, open: Box<Open>) {
        self.send_open();
        self.io.max_frame_size = open.max_frame_size.max(MIN_MAX_FRAME_SIZE) as usize;
        self.idle.set_peer(open.idle_time_out);
        self.stage = Stage::Open;
        self.remote_open = Some(open.clone());
        self.io.events.push_back(Event::Opened(open));
    }

    pub(super) fn write_header(&mut self, header: Header) {
        self.io.output.extend_from_slice(header.bytes());
        self.io.wrote = true;
    }

    fn sasl_frame(&mut self, body: &SaslFrame) {
        let output: &mut BytesMut = &mut self.io.output;
        frame::put(output, frame::SASL, 0, |out| body.encode(out));
        self.io.wrote = true;
    }
}
