//! Devices that a connection serves: who may have a link, and what ends with the last one.

use std::sync::Arc;

use hubward_amqp::connection::LinkRef;
use hubward_amqp::performative::{Error, condition};
use percent_encoding::percent_decode_str;

use super::link::{DeviceKind, DeviceLink, Link};
use super::node::Place;
use super::served::Served;
use crate::access::Denied;
use crate::events::AuthMethod;
use crate::identity::Identity;
use crate::presence::Interest;

/// A device that this connection serves.
pub(super) struct Seat {
    /// How many links it has here.
    links: usize,
}

impl Served {
    /// The identity of `device`, if a token or a certificate on this connection lets it have a link to `place`, and which.
    ///
    /// UNCONFIRMED (reference, 3.7 and 10): what the service says to a disabled device. Absent and disabled ones are not
    /// found, all else is unauthorized.
    pub(super) fn authorised(&self, device: &str, place: Place) -> Result<(Arc<Identity>, AuthMethod), Error> {
        let unauthorized = || {
            let text = format!("no valid token or certificate for device {device:?}");
            Error::new(condition::UNAUTHORIZED_ACCESS, text)
        };
        let not_found = |why: &Denied| Error::new(condition::NOT_FOUND, why.to_string());
        let decoded = percent_decode_str(device).decode_utf8_lossy();
        let identities = &self.state.identities;
        let identity = identities.get(device).or_else(|| identities.get(&decoded));
        let Some(identity) = identity else {
            // Whether an id exists is told only to those who could know.
            let absent = self.tokens.absent(device).or_else(|| self.tokens.absent(&decoded));
            let by_policy = self.tokens.of_absent(&place.path(&decoded), self.state.clock.now());
            return Err(match absent {
                Some(why) => not_found(why),
                None if by_policy => not_found(&Denied::UnknownDevice(decoded.into_owned())),
                None => unauthorized(),
            });
        };
        if identity.is_enabled() {
            let method = self.proof(&identity, place).ok_or_else(unauthorized)?;
            return Ok((identity, method));
        }
        let knows = self.tokens.absent(&identity.device_id).is_some()
            || self.tokens.of_device(&identity, &place.path(&identity.device_id), self.state.clock.now()).is_some()
            || matches!(self.certified(&identity), Some(Err(Denied::Disabled(_))));
        Err(if knows { not_found(&Denied::Disabled(device.to_owned())) } else { unauthorized() })
    }

    /// How this connection has proved that it speaks for `identity` at `place`, if it has.
    pub(super) fn proof(&self, identity: &Identity, place: Place) -> Option<AuthMethod> {
        let path = place.path(&identity.device_id);
        if let Some(grant) = self.tokens.of_device(identity, &path, self.state.clock.now()) {
            return Some(grant.auth_method());
        }
        matches!(self.certified(identity), Some(Ok(()))).then_some(AuthMethod::DeviceX509)
    }

    /// Whether the peer's certificate is the device's; nothing if it showed none.
    fn certified(&self, identity: &Identity) -> Option<Result<(), Denied>> {
        let certificate = self.certificate.as_ref()?;
        Some(self.state.access.check_certificate(&identity.device_id, certificate).map(drop))
    }

    /// Takes a link of a device's that was let in; the device is served here from now on.
    pub(super) fn enter(&mut self, link: LinkRef, of: DeviceLink) {
        let interest = of.kind.interest();
        let device = of.device.clone();
        self.seats.entry(device.clone()).or_insert(Seat { links: 0 }).links += 1;
        self.links.insert(link, Link::Device(Box::new(of)));
        if let Some(interest) = interest {
            self.state.presence.listen(&device, self.id, interest, true);
        }
    }

    /// A link of a device's, already taken out, has ended.
    pub(super) fn leave(&mut self, of: &DeviceLink) {
        let device = &of.device;
        let Some(seat) = self.seats.get_mut(device) else { return };
        seat.links -= 1;
        if seat.links == 0 {
            self.seats.remove(device);
            self.state.devices.release(device, self.id);
            return self.state.presence.release(device, self.id);
        }
        let same = |link: &Link| match link {
            Link::Device(other) => other.device == *device && of.kind.is_like(&other.kind),
            _ => false,
        };
        if self.links.values().any(same) {
            return;
        }
        if let DeviceKind::Messages(_) = of.kind {
            self.state.devices.release(device, self.id);
        }
        let listened = match of.kind {
            DeviceKind::TwinAnswers(_) => Some(Interest::Desired),
            _ => of.kind.interest(),
        };
        if let Some(interest) = listened {
            self.state.presence.listen(device, self.id, interest, false);
        }
    }

    /// The links of a device.
    pub(super) fn links_of(&self, device: &Arc<str>) -> Vec<LinkRef> {
        self.links.iter().filter(|(_, link)| link.device() == Some(device)).map(|(link, _)| *link).collect()
    }
}

impl DeviceKind {
    /// What the device listens to as soon as it has such a link.
    fn interest(&self) -> Option<Interest> {
        match self {
            Self::Messages(_) => Some(Interest::Messages),
            Self::MethodRequests(_) => Some(Interest::Methods),
            Self::Telemetry(_) | Self::TwinRequests(_) | Self::TwinAnswers(_) | Self::MethodAnswers(_) => None,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}
