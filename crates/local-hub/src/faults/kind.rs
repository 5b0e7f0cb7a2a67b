//! What can be asked to go wrong.

use serde::{Deserialize, Serialize};

/// What is to go wrong, for whom, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSpec {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// For this device alone; none: for the whole hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Over after it has struck so often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Over after so many milliseconds of the hub's clock.
    #[serde(default, rename = "for_ms", skip_serializing_if = "Option::is_none")]
    pub for_millis: Option<u64>,
}

/// The faults there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum FaultKind {
    /// The hub cannot be reached, or answers that it is busy.
    Outage {
        /// How it shows.
        #[serde(rename = "as")]
        how: Outage,
    },
    /// Acknowledgements and answers come so much later.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Sends and requests are refused as too many.
    Throttle,
    /// Sends are refused as if the day's messages were gone.
    Quota,
    /// The connection is dropped at every so-manieth transfer, instead of its acknowledgement.
    Drop {
        /// Every so-manieth; 1: each.
        #[serde(default = "one")]
        after: u64,
        /// The transfer is lost too: it is not stored.
        #[serde(default)]
        lost: bool,
    },
    /// What is sent is stored and never acknowledged.
    NoDisposition,
    /// A message is refused for good, and with it the whole batch it is in.
    Poison {
        /// One that has this text in its body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        containing: Option<String>,
        /// One with this property, `NAME` or `NAME=VALUE`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        property: Option<String>,
        /// One larger than this, in bytes by the service's formula.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        larger_than: Option<usize>,
        /// The connection is closed instead of a refusal: nothing is stored, nothing answered.
        #[serde(default)]
        close: bool,
    },
    /// Good tokens and certificates are refused.
    TokenRefused {
        /// Tokens of this policy alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String>,
    },
    /// The device is disabled; when the fault ends it is enabled again.
    Disabled,
    /// The device is deleted, for good.
    Deleted,
    /// The device gets new keys, for good.
    Rekeyed,
    /// Another connection takes the device over.
    LinkStolen,
    /// The hub shows another certificate in TLS.
    Certificate {
        /// Which.
        #[serde(rename = "as")]
        how: WrongCertificate,
    },
}

/// How an outage shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outage {
    /// Connections are ended, new ones refused.
    Refuse,
    /// Connections are reset, new ones as soon as they are made.
    Reset,
    /// Connections stay and new ones are taken, but nothing is read and nothing answered.
    Blackhole,
    /// It answers that it is busy: 503 by HTTPS, a detach by AMQP, a refused CONNECT by MQTT.
    Error,
}

/// A certificate that clients must not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WrongCertificate {
    /// Of an authority that nobody trusts.
    Untrusted,
    /// Expired yesterday.
    Expired,
    /// For another host.
    OtherName,
}

/// A fault that is in force, or was just done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultView {
    /// Its number, by which it is cleared; 0: it was done at once and is over.
    pub id: u64,
    /// What was asked for.
    #[serde(flatten)]
    pub spec: FaultSpec,
    /// Since when, by the hub's clock.
    pub since: String,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How often it has struck.
    pub hits: u64,
}

fn one() -> u64 {
    1
}

impl FaultSpec {
    /// Why it cannot be, if it cannot.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let of_hub = matches!(self.kind, FaultKind::Certificate { .. })
            || matches!(&self.kind, FaultKind::Outage { how } if *how != Outage::Error)
            || matches!(&self.kind, FaultKind::TokenRefused { policy: Some(_) });
        if of_hub && self.device.is_some() {
            return Err(
                "it concerns the whole hub: who connects is not known yet when it strikes; leave the device out",
            );
        }
        let of_device =
            matches!(self.kind, FaultKind::Disabled | FaultKind::Deleted | FaultKind::Rekeyed | FaultKind::LinkStolen);
        if of_device && self.device.is_none() {
            return Err("it needs a device");
        }
        let lasts = !matches!(self.kind, FaultKind::Deleted | FaultKind::Rekeyed);
        if !lasts && (self.count.is_some() || self.for_millis.is_some()) {
            return Err("it is done at once and for good: it has no count and no duration");
        }
        let counted = !matches!(
            self.kind,
            FaultKind::Outage { how: Outage::Refuse | Outage::Blackhole }
                | FaultKind::Disabled
                | FaultKind::Certificate { .. }
        );
        if self.count.is_some() && lasts && !counted {
            return Err("how often it strikes cannot be counted; give it a duration");
        }
        if self.count == Some(0) || self.for_millis == Some(0) {
            return Err("a count and a duration are at least 1");
        }
        match &self.kind {
            FaultKind::Drop { after: 0, .. } => Err("after is at least 1"),
            FaultKind::Poison { containing: None, property: None, larger_than: None, .. } => {
                Err("say which message is poison: containing, property or larger_than")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> FaultSpec {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_fault_is_written_in_json_by_its_name() {
        let spec = read(r#"{"fault": "outage", "as": "blackhole", "for_ms": 5000}"#);
        assert_eq!((&spec.kind, spec.for_millis), (&FaultKind::Outage { how: Outage::Blackhole }, Some(5000)));
        assert_eq!(read(r#"{"fault": "drop"}"#).kind, FaultKind::Drop { after: 1, lost: false });
        let text = serde_json::to_string(&read(r#"{"fault": "no-disposition", "device": "d", "count": 2}"#)).unwrap();
        assert_eq!(text, r#"{"fault":"no-disposition","device":"d","count":2}"#);
        let closing = r#"{"fault":"poison","property":"a=b","close":true,"count":1}"#;
        assert_eq!(serde_json::to_string(&read(closing)).unwrap(), closing);
        let FaultKind::Poison { close, .. } = read(r#"{"fault": "poison", "containing": "bad"}"#).kind else {
            panic!()
        };
        assert!(!close, "it is refused unless more is asked for");
        assert!(serde_json::from_str::<FaultSpec>(r#"{"fault": "flood"}"#).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, why) in [
            (r#"{"fault": "outage", "as": "refuse", "device": "d"}"#, "whole hub"),
            (r#"{"fault": "disabled"}"#, "needs a device"),
            (r#"{"fault": "deleted", "device": "d", "for_ms": 1}"#, "for good"),
            (r#"{"fault": "outage", "as": "refuse", "count": 3}"#, "cannot be counted"),
            (r#"{"fault": "throttle", "count": 0}"#, "at least 1"),
            (r#"{"fault": "poison"}"#, "which message"),
            (r#"{"fault": "poison", "close": true}"#, "which message"),
        ] {
            assert!(read(text).check().unwrap_err().contains(why), "{text}");
        }
        assert_eq!(read(r#"{"fault": "outage", "as": "error", "device": "d", "count": 1}"#).check(), Ok(()));
    }
}
