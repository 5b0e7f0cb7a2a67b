//! A device's transfer taken apart and checked, before anything of it is stored.

use std::sync::Arc;

use bytes::Bytes;
use hubward_amqp::message::{FORMAT_AMQP, FORMAT_BATCH, Message, unbatch};
use hubward_amqp::performative::{Error, condition};
use hubward_amqp::types::{Symbol, Value};

use crate::events::{AuthMethod, MAX_MESSAGE, NewEvent, Unfit, check};

/// What the service documents for a whole batch (reference, 3.6).
const DOCUMENTED_BATCH: (usize, usize) = (256 * 1024, 500);

const ARGUMENT_ERROR: Symbol = Symbol::from_static("com.microsoft:argument-error");

/// Who sent a transfer.
pub(super) struct Sender<'a> {
    pub(super) device_id: &'a Arc<str>,
    pub(super) generation_id: &'a Arc<str>,
    pub(super) method: AuthMethod,
    pub(super) model_id: Option<&'a str>,
}

/// The events in a transfer, and their sizes. One that cannot be taken refuses the whole.
pub(super) fn events(sender: &Sender<'_>, format: u32, payload: &Bytes) -> Result<(Vec<NewEvent>, Vec<usize>), Error> {
    let undecodable = |_| Error::new(condition::DECODE_ERROR, "the message cannot be decoded");
    let encoded = match format {
        FORMAT_AMQP => vec![payload.clone()],
        FORMAT_BATCH => unbatch(payload).map_err(undecodable)?,
        _ => return Err(Error::new(condition::NOT_IMPLEMENTED, format!("message format {format:#x} is not known"))),
    };
    if encoded.is_empty() {
        return Err(Error::new(ARGUMENT_ERROR, "the batch is empty"));
    }
    let mut sizes = Vec::with_capacity(encoded.len());
    let mut events = Vec::with_capacity(encoded.len());
    for encoded in &encoded {
        let mut message = Message::decode(encoded).map_err(undecodable)?;
        sizes.push(check(&message, MAX_MESSAGE).map_err(|unfit| refusal(&unfit))?);
        if let Some(model_id) = sender.model_id {
            message.message_annotations.push((Symbol::from_static("dt-dataschema"), Value::String(model_id.into())));
        }
        let event =
            NewEvent::from_message(sender.device_id.clone(), sender.generation_id.clone(), sender.method, message);
        events.push(event);
    }
    let total: usize = sizes.iter().sum();
    // UNCONFIRMED (reference, 3.6): whether the service holds the batch as a whole to these. The C SDK sends larger ones,
    // so they are taken up to the link's max-message-size.
    if total > DOCUMENTED_BATCH.0 || events.len() > DOCUMENTED_BATCH.1 {
        tracing::warn!(
            device = &**sender.device_id,
            bytes = total,
            messages = events.len(),
            "a batch beyond the documented 256 KB or 500 messages: the real hub might refuse it"
        );
    }
    Ok((events, sizes))
}

fn refusal(unfit: &Unfit) -> Error {
    let condition = match unfit {
        Unfit::TooLarge { .. } => condition::MESSAGE_SIZE_EXCEEDED,
        Unfit::MessageId(_) => ARGUMENT_ERROR,
    };
    Error::new(condition, unfit.to_string())
}

#[cfg(test)]
mod unit {
    use super::*;

    fn take(format: u32, payload: &Bytes) -> Result<Vec<NewEvent>, Error> {
        let (device_id, generation_id) = ("d".into(), "1".into());
        let sender = Sender {
            device_id: &device_id,
            generation_id: &generation_id,
            method: AuthMethod::DeviceSas,
            model_id: None,
        };
        events(&sender, format, payload).map(|(events, _)| events)
    }

    #[test]
    fn a_message_of_256_kb_is_taken_and_one_byte_more_refuses_its_whole_batch() {
        let fits = Message::data(vec![7; MAX_MESSAGE]).to_bytes();
        assert_eq!(take(FORMAT_AMQP, &fits).unwrap().len(), 1);
        let too_large = Message::data(vec![7; MAX_MESSAGE + 1]);
        let mut batch = bytes::BytesMut::new();
        for message in [&Message::data("small"), &too_large] {
            hubward_amqp::message::append_to_batch(&mut batch, |out| message.encode(out));
        }
        let refused = take(FORMAT_BATCH, &batch.freeze()).err().unwrap();
        assert_eq!(refused.condition, condition::MESSAGE_SIZE_EXCEEDED);
    }

    #[test]
    fn a_message_id_that_none_may_have_is_an_argument_error() {
        let mut message = Message::data("x");
        message.properties.message_id = Some("a b".into());
        assert_eq!(take(FORMAT_AMQP, &message.to_bytes()).err().unwrap().condition, ARGUMENT_ERROR);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert_eq!(take(FORMAT_AMQP, &Bytes::from_static(b"\xff")).err().unwrap().condition, condition::DECODE_ERROR);
        assert_eq!(take(7, &Bytes::new()).err().unwrap().condition, condition::NOT_IMPLEMENTED);
    }
}
