//! What a connection's links are for.

use std::sync::Arc;

use hubward_amqp::connection::{Connection, LinkRef};

use super::commands::Commands;
use super::desk::Service;
use super::feedback::FeedbackLink;
use super::mailbox::Mailbox;
use super::methods::MethodRequests;
use super::node::Place;
use super::reading::Reading;
use super::telemetry::Telemetry;
use super::twins::{TwinAnswers, TwinRequests};

/// What a link is for.
pub(super) enum Link {
    /// Requests come in.
    Requests(Service),
    /// Answers go out.
    Answers,
    /// Something of a device's.
    Device(Box<DeviceLink>),
    /// Events go out to a service.
    Reading(Box<Reading>),
    /// Messages to devices come in from a service.
    Commands(Commands),
    /// What became of them goes out to a service.
    Feedback(Box<FeedbackLink>),
}

/// A link of a device's.
pub(super) struct DeviceLink {
    pub(super) device: Arc<str>,
    /// Which identity of that id.
    pub(super) generation: Arc<str>,
    pub(super) place: Place,
    pub(super) kind: DeviceKind,
}

/// What a link of a device's is for.
pub(super) enum DeviceKind {
    /// Its messages come in.
    Telemetry(Telemetry),
    /// Messages to it go out.
    Messages(Mailbox),
    /// Its twin operations come in.
    TwinRequests(TwinRequests),
    /// Their answers, and changes of desired properties, go out.
    TwinAnswers(TwinAnswers),
    /// Answers to direct methods come in.
    MethodAnswers(Allowance),
    /// Calls of direct methods go out.
    MethodRequests(MethodRequests),
}

impl Link {
    /// The device it is of.
    pub(super) fn device(&self) -> Option<&Arc<str>> {
        match self {
            Self::Device(link) => Some(&link.device),
            _ => None,
        }
    }

    pub(super) fn mailbox(&mut self) -> Option<(&Arc<str>, &mut Mailbox)> {
        match self {
            Self::Device(link) => match &mut link.kind {
                DeviceKind::Messages(mailbox) => Some((&link.device, mailbox)),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn twin_answers(&mut self) -> Option<(&Arc<str>, &mut TwinAnswers)> {
        match self {
            Self::Device(link) => match &mut link.kind {
                DeviceKind::TwinAnswers(answers) => Some((&link.device, answers)),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn method_requests(&mut self) -> Option<(&Arc<str>, &mut MethodRequests)> {
        match self {
            Self::Device(link) => match &mut link.kind {
                DeviceKind::MethodRequests(requests) => Some((&link.device, requests)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What a peer may send ahead on a link; given anew when half is used.
pub(super) struct Allowance {
    credit: u32,
    used: u32,
}

impl Allowance {
    /// Grants `credit` on `link`.
    pub(super) fn grant(credit: u32, link: LinkRef, connection: &mut Connection) -> Self {
        connection.grant_credit(link, credit);
        Self { credit, used: 0 }
    }

    /// One more was taken in.
    pub(super) fn spend(&mut self, link: LinkRef, connection: &mut Connection) {
        self.used += 1;
        if self.used >= self.credit / 2 {
            self.used = 0;
            connection.grant_credit(link, self.credit);
        }
    }
}
