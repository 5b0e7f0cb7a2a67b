use std::sync::Arc;

use hubward_amqp::connection::AttachRequest;
use hubward_amqp::performative::Source;
use hubward_amqp::types::{Symbol, Value};

use super::Start;

const FILTER: Symbol = Symbol::from_static("apache.org:selector-filter:string");
/// The filter's descriptor, as Microsoft's JavaScript reader gives it.
const FILTER_CODE: u64 = 0x0000_468c_0000_0004;

/// One partition's link.
#[derive(Debug)]
pub(super) struct Partition {
    name: Arc<str>,
    attached: bool,
    /// How many events may still come.
    left: u32,
}

/// The request for a partition's link (docs: IoT Hub wire reference, section 6.3).
pub(super) fn request(entity: &str, consumer_group: &str, partition: &str, start: &Start) -> AttachRequest {
    let mut source = Source::at(format!("{entity}/ConsumerGroups/{consumer_group}/Partitions/{partition}"));
    source.filter = vec![(FILTER, Value::described(FILTER_CODE, start.selector()))];
    AttachRequest::receiver(format!("partition-{partition}-{}", uuid::Uuid::new_v4()), source)
}

impl Partition {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, attached: false, left: 0 }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn is_attached(&self) -> bool {
        self.attached
    }

    pub(super) fn attached(&mut self) {
        self.attached = true;
    }

    pub(super) fn granted(&mut self, credit: u32) {
        self.left = credit;
    }

    /// Counts an event; true when credit is due again.
    pub(super) fn used_one(&mut self, credit: u32) -> bool {
        self.left = self.left.saturating_sub(1);
        if self.left > credit / 2 {
            return false;
        }
        self.left = credit;
        true
    }
}
