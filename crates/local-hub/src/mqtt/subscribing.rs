//! What a device has subscribed to, and messages to it.

use hubward_mqtt::protocol::{Packet, Qos, Reason, SubAck, Subscribe, Unsubscribe};

use super::outgoing::Leaving;
use super::session::{Done, End, HIGH_WATER, MAX_WORK, Session};
use super::topic::Filter;
use crate::devices::{Holder, Settle};
use crate::presence::Interest;

impl Session {
    pub(super) fn on_subscribe(&mut self, subscribe: Subscribe) -> Result<(), End> {
        let mut reasons = Vec::new();
        let mut filters = Vec::new();
        for entry in &subscribe.entries {
            // UNCONFIRMED (reference, 4.2): what happens on other filters; closing is widely observed.
            let filter = Filter::parse(&entry.filter, self.device()).map_err(|why| {
                let filter: String = entry.filter.chars().take(128).collect();
                End::refused(format!("it subscribed to {filter:?}: {why}"))
            })?;
            let granted = self.outgoing.subscribe(filter, entry.qos);
            reasons.push(Reason(granted.into()));
            filters.push(filter);
        }
        let suback = SubAck { packet_id: subscribe.packet_id, reasons };
        let keep = self.keep();
        self.work.push_back(Box::pin(async move { Done::Subscribed(suback, filters, keep.await) }));
        Ok(())
    }

    pub(super) fn on_unsubscribe(&mut self, unsubscribe: Unsubscribe) -> Result<(), End> {
        for filter in &unsubscribe.filters {
            if let Ok(filter) = Filter::parse(filter, self.device()) {
                self.outgoing.unsubscribe(filter);
                if let Some(interest) = interest(filter) {
                    self.state.presence.listen(self.device(), self.id, interest, false);
                }
            }
        }
        let reasons = vec![Reason::SUCCESS; unsubscribe.filters.len()];
        let unsuback = SubAck { packet_id: unsubscribe.packet_id, reasons };
        let keep = self.keep();
        self.work.push_back(Box::pin(async move { Done::Unsubscribed(unsuback, keep.await) }));
        Ok(())
    }

    pub(super) fn subscribe(&mut self, filter: Filter, qos: Qos) {
        self.outgoing.subscribe(filter, qos);
        self.listen(filter);
    }

    /// Has others tell this connection of what the device has subscribed to.
    pub(super) fn listen(&self, filter: Filter) {
        if let Some(interest) = interest(filter)
            && self.outgoing.listens_to(filter)
        {
            self.state.presence.listen(self.device(), self.id, interest, true);
        }
    }

    /// Fetches messages that wait for the device.
    pub(super) fn fetch(&mut self) -> Result<(), End> {
        while self.outgoing.more && self.outgoing.listens_to(Filter::Messages) && self.output.len() < HIGH_WATER {
            let room = self.outgoing.room().min(MAX_WORK.saturating_sub(self.work.len()));
            if room == 0 {
                // An acknowledgement makes room, and work that is done.
                return Ok(());
            }
            // One at a time, so that large ones do not pile up.
            let received = self.state.devices.receive(&self.identity, Holder::Mqtt(self.id), 1);
            let Some(received) = received.first() else {
                self.outgoing.more = false;
                return Ok(());
            };
            let device = self.device().clone();
            match self.outgoing.message(&device, received) {
                Leaving::Tracked(publish) => self.send(&Packet::Publish(publish))?,
                Leaving::Once(publish) => {
                    self.send(&Packet::Publish(publish))?;
                    self.settle(received.lock_token, Settle::Complete);
                }
                Leaving::Never => {
                    tracing::warn!(device = &*device, "a message whose properties fit no MQTT topic is rejected");
                    self.settle(received.lock_token, Settle::Reject);
                }
            }
        }
        Ok(())
    }

    pub(super) fn filter_text(&self, filter: Filter) -> String {
        match filter {
            Filter::Messages => format!("devices/{}/messages/devicebound/#", self.device()),
            Filter::TwinAnswers => "$iothub/twin/res/#".to_owned(),
            Filter::Desired => "$iothub/twin/PATCH/properties/desired/#".to_owned(),
            Filter::Methods => "$iothub/methods/POST/#".to_owned(),
        }
    }
}

/// What a connection listens to for a subscription.
fn interest(filter: Filter) -> Option<Interest> {
    match filter {
        Filter::Messages => Some(Interest::Messages),
        Filter::Desired => Some(Interest::Desired),
        Filter::Methods => Some(Interest::Methods),
        Filter::TwinAnswers => None,
    }
}
