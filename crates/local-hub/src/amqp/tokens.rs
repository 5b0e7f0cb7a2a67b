//! The tokens a connection has shown.

use std::collections::HashMap;
use std::sync::Arc;

use hubward_model::Timestamp;

use crate::access::{Denied, Grant, Principal};
use crate::identity::Identity;
use crate::policies::Right;

/// Tokens one connection may show in its whole life (reference, 3.3); a renewed one is the same one.
const MAX_TOKENS: usize = 999;
/// Refused devices that are remembered, to tell an absent device from a wrong key when a link is asked for.
const MAX_REFUSED: usize = 1000;

/// What a connection may do.
#[derive(Default)]
pub(super) struct Tokens {
    devices: HashMap<Arc<str>, Grant>,
    policies: Vec<Grant>,
    absent: HashMap<String, Denied>,
    next_expiry: Option<Timestamp>,
}

/// The connection has shown as many tokens as it may.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a connection may carry {MAX_TOKENS} tokens")]
pub(super) struct TooMany;

impl Tokens {
    /// Adds a verified token; a later one of the same signer for the same resource takes the place of the earlier.
    pub(super) fn put(&mut self, grant: Grant) -> Result<(), TooMany> {
        let full = self.devices.len() + self.policies.len() >= MAX_TOKENS;
        let ends = grant.ends();
        match &grant.who {
            Principal::Device { id, .. } => {
                if full && !self.devices.contains_key(id) {
                    return Err(TooMany);
                }
                self.absent.remove(&**id);
                self.devices.insert(id.clone(), grant);
            }
            Principal::Policy { name, .. } => {
                let same = |other: &&mut Grant| {
                    matches!(&other.who, Principal::Policy { name: n, .. } if n == name) && other.scope == grant.scope
                };
                match self.policies.iter_mut().find(same) {
                    Some(place) => *place = grant,
                    None if full => return Err(TooMany),
                    None => self.policies.push(grant),
                }
            }
        }
        self.next_expiry = Some(self.next_expiry.map_or(ends, |next| next.min(ends)));
        Ok(())
    }

    /// Remembers that a token was refused because its device is not there or may not connect.
    pub(super) fn refuse(&mut self, why: &Denied) {
        if let Denied::UnknownDevice(id) | Denied::Disabled(id) = why
            && self.absent.len() < MAX_REFUSED
        {
            self.absent.insert(id.clone(), why.clone());
        }
    }

    /// Why the device's own token was refused, if it was because of the device.
    pub(super) fn absent(&self, device: &str) -> Option<&Denied> {
        self.absent.get(device)
    }

    /// The token that lets `identity` do what is at `path`.
    pub(super) fn of_device(&self, identity: &Identity, path: &[&str], now: Timestamp) -> Option<&Grant> {
        let own = self.devices.get(&identity.device_id).into_iter();
        own.chain(&self.policies).find(|grant| !grant.has_expired(now) && grant.speaks_for(identity, path))
    }

    /// Whether a policy's token would let a device that is not there do what is at `path`.
    pub(super) fn of_absent(&self, path: &[&str], now: Timestamp) -> bool {
        let covers = |grant: &Grant| grant.has(Right::DeviceConnect) && grant.scope.covers(path);
        self.policies.iter().any(|grant| !grant.has_expired(now) && covers(grant))
    }

    /// Whether one of them allows to read any of `paths`.
    pub(super) fn may_read(&self, paths: &[&[&str]], now: Timestamp) -> bool {
        self.policies.iter().any(|grant| !grant.has_expired(now) && grant.may_read(paths))
    }

    /// When the next of them expires.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.next_expiry
    }

    /// Looks anew when the next expires, after `now`.
    pub(super) fn passed(&mut self, now: Timestamp) {
        let all = self.devices.values().chain(&self.policies);
        self.next_expiry = all.filter(|grant| !grant.has_expired(now)).map(Grant::ends).min();
    }
}
