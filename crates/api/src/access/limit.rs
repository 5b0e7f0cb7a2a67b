//! How often passwords and setup tokens may be tried: a few times at once, then slowly, for each address and each name.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use crate::ApiError;

/// Wrong tries at once from one address, and the time until there is one more.
const OF_ADDRESS: Rate = Rate { burst: 10.0, every: Duration::from_secs(30) };
/// Wrong tries at once of one name, from wherever, and the time until there is one more.
const OF_NAME: Rate = Rate { burst: 20.0, every: Duration::from_secs(10) };
/// Addresses and names that are remembered; all beyond share one allowance.
const REMEMBERED: usize = 10_000;

struct Rate {
    burst: f64,
    every: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    Name(String),
    /// One of too many.
    Others,
}

impl Who {
    fn rate(&self) -> &'static Rate {
        if matches!(self, Self::Name(_)) { &OF_NAME } else { &OF_ADDRESS }
    }
}

/// What was used up of an allowance, and when that was.
#[derive(Debug, Clone, Copy)]
struct Used {
    tries: f64,
    at: Instant,
}

impl Used {
    fn now(self, rate: &Rate, now: Instant) -> f64 {
        let back = now.saturating_duration_since(self.at).as_secs_f64() / rate.every.as_secs_f64();
        (self.tries - back).max(0.0)
    }
}

/// The wrong tries of late.
#[derive(Debug)]
pub(crate) struct Tries {
    used: Mutex<HashMap<Who, Used>>,
    remembered: usize,
}

impl Default for Tries {
    fn default() -> Self {
        Self { used: Mutex::default(), remembered: REMEMBERED }
    }
}

/// Too many wrong tries: come back after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany(pub(crate) Duration);

impl Tries {
    /// Takes a try of this address and name, before it is known whether it is right: tries at the same moment count.
    pub(crate) fn take(&self, remote: Option<IpAddr>, name: &str, now: Instant) -> Result<Try<'_>, TooMany> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = [remote.map(|ip| Who::Address(network(ip))), Some(Who::Name(name.chars().take(64).collect()))];
        let wanted: Vec<Who> = wanted.into_iter().flatten().collect();
        if used.len() + wanted.len() > self.remembered {
            used.retain(|who, used| used.now(who.rate(), now) > 0.0);
        }
        let full = used.len() + wanted.len() > self.remembered;
        let wanted: Vec<Who> =
            wanted.into_iter().map(|who| if full && !used.contains_key(&who) { Who::Others } else { who }).collect();
        let spent = |who: &Who| used.get(who).map_or(0.0, |used| used.now(who.rate(), now));
        let wait = wanted
            .iter()
            .map(|who| who.rate().every.mul_f64((spent(who) + 1.0 - who.rate().burst).max(0.0)))
            .max()
            .unwrap_or_default();
        if !wait.is_zero() {
            return Err(TooMany(wait));
        }
        for who in &wanted {
            let tries = used.get(who).map_or(0.0, |used| used.now(who.rate(), now)) + 1.0;
            used.insert(who.clone(), Used { tries, at: now });
        }
        Ok(Try { tries: self, wanted })
    }
}

/// A try that counts unless it is [given back](Self::give_back).
#[must_use]
pub(crate) struct Try<'a> {
    tries: &'a Tries,
    wanted: Vec<Who>,
}

impl Try<'_> {
    /// It was right: it does not count.
    pub(crate) fn give_back(self) {
        let mut used = self.tries.used.lock().unwrap_or_else(PoisonError::into_inner);
        for who in &self.wanted {
            if let Some(used) = used.get_mut(who) {
                used.tries = (used.tries - 1.0).max(0.0);
            }
        }
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let mut parts = ip.octets();
            parts[8..].fill(0);
            IpAddr::V6(Ipv6Addr::from(parts))
        }
        ip => ip,
    }
}

impl From<TooMany> for ApiError {
    fn from(TooMany(wait): TooMany) -> Self {
        // Rounded up, so that who waits as long as told is let in.
        let seconds = wait.as_secs() + 1;
        let mut error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_attempts",
            "too many wrong tries from this address or for this name",
            format!(
                "wait {seconds} s, then try again; an administrator can set another password: hubward user password NAME"
            ),
        );
        error.retry_after = Some(seconds);
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn wrong_tries_are_counted_by_address_and_come_back_with_time() {
        let tries = Tries::default();
        let start = Instant::now();
        for n in 0..10 {
            assert!(tries.take(ip("192.0.2.1"), &format!("name{n}"), start).is_ok(), "{n}");
        }
        let Err(TooMany(wait)) = tries.take(ip("192.0.2.1"), "another", start) else { panic!("taken") };
        assert!(wait > Duration::ZERO && wait <= OF_ADDRESS.every, "{wait:?}");
        assert!(tries.take(ip("192.0.2.2"), "another", start).is_ok(), "others are not to blame");
        assert!(tries.take(ip("192.0.2.1"), "another", start + wait).is_ok());
        assert!(tries.take(ip("192.0.2.1"), "another", start + wait).is_err());
    }

    #[test]
    fn a_name_is_guarded_against_many_addresses_and_right_tries_do_not_count() {
        let tries = Tries::default();
        let start = Instant::now();
        for n in 0..20 {
            assert!(tries.take(ip(&format!("192.0.2.{n}")), "ann", start).is_ok(), "{n}");
        }
        assert!(tries.take(ip("192.0.2.99"), "ann", start).is_err());
        for _ in 0..1_000 {
            tries.take(ip("192.0.2.100"), "bob", start).unwrap_or_else(|_| panic!("refused")).give_back();
        }
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one_caller() {
        assert_eq!(network("2001:db8:1:2:3:4:5:6".parse().unwrap()), "2001:db8:1:2::".parse::<IpAddr>().unwrap());
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_strangers_then_share_one_allowance() {
        let tries = Tries { remembered: 50, ..Tries::default() };
        let start = Instant::now();
        for n in 0..100u32 {
            let address = IpAddr::V4(std::net::Ipv4Addr::from(n));
            let _ = tries.take(Some(address), &n.to_string(), start).map(drop);
        }
        assert!(tries.used.lock().unwrap().len() <= 51);
        assert!((0..100).any(|n| tries.take(ip("198.51.100.1"), &format!("new{n}"), start).is_err()));
        let later = start + Duration::from_secs(3_600);
        assert!(tries.take(ip("198.51.100.1"), "new", later).is_ok(), "old tries make room");
    }
}
