//! One message exactly as the hub will get it, and what a device will be called there.

use hubward_iothub::message::encoded_size;
use hubward_model::{DeviceId, DeviceName, JournalId, Record};
use hubward_registry::{Device, Settings};

use crate::message::{self, MessageTerms, Sender, TopicTemplate};
use crate::provision::{ProvisionError, Provisioner};

/// A message as a hub gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePreview {
    /// Its id.
    pub message_id: String,
    /// Its content type.
    pub content_type: Option<String>,
    /// Its content encoding.
    pub content_encoding: Option<String>,
    /// `iothub-creation-time-utc`.
    pub creation_time: Option<String>,
    /// Application properties, in their order.
    pub properties: Vec<(String, String)>,
    /// The body.
    pub body: bytes::Bytes,
    /// Bytes by IoT Hub's formula.
    pub size: usize,
    /// What the hub's 4 KB meter counts for it.
    pub units_4k: u64,
}

/// What an integration's messages are made by.
#[must_use]
pub fn terms_of(settings: &Settings) -> MessageTerms {
    MessageTerms {
        topic: TopicTemplate::new(settings.topic.as_str()),
        body: settings.body,
        content_type: settings.content_type.clone(),
    }
}

/// The message that `record` becomes.
#[must_use]
pub fn preview(
    record: &Record,
    journal: &JournalId,
    (device, name): (&DeviceId, Option<&DeviceName>),
    pybytes: bool,
    terms: &MessageTerms,
) -> MessagePreview {
    let message = message::build(record, &Sender { journal, device, name, pybytes }, terms);
    let size = encoded_size(&message);
    MessagePreview {
        message_id: message.message_id,
        content_type: message.content_type,
        content_encoding: message.content_encoding,
        creation_time: message.creation_time_utc,
        properties: message.properties,
        body: message.body,
        size,
        units_4k: message::units_4k(size),
    }
}

impl Provisioner {
    /// What these devices would be called at `host` by `template`, each with the name of the integration that has this
    /// id there already. Hubward would choose another one then.
    ///
    /// # Errors
    /// The template is none, or the registry failed.
    pub async fn preview_ids(
        &self,
        host: Option<&str>,
        template: Option<&str>,
        devices: &[Device],
    ) -> Result<Vec<(String, Option<String>)>, ProvisionError> {
        self.ids_by_template(host, template, devices).await
    }
}
