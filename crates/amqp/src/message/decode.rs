use bytes::Bytes;

use super::{Body, Header, Message, Properties, section};
use crate::types::{DecodeError, Decoder, Value};

pub(super) fn message(encoded: &Bytes) -> Result<Message, DecodeError> {
    let mut message = Message::default();
    let mut decoder = Decoder::new(encoded);
    while !decoder.is_empty() {
        let mut ahead = decoder.clone();
        let descriptor = ahead.descriptor()?;
        let code = u8::try_from(descriptor).unwrap_or_default();
        match code {
            section::HEADER => message.header = Some(Header::from_fields(decoder.composite()?.1)?),
            section::PROPERTIES => message.properties = Properties::from_fields(decoder.composite()?.1)?,
            _ => {
                decoder = ahead;
                match code {
                    section::DELIVERY_ANNOTATIONS => message.delivery_annotations = decoder.fields()?,
                    section::MESSAGE_ANNOTATIONS => message.message_annotations = decoder.fields()?,
                    section::APPLICATION_PROPERTIES => message.application_properties = decoder.text_map()?,
                    section::FOOTER => message.footer = decoder.fields()?,
                    section::DATA | section::SEQUENCE | section::VALUE => {
                        message.body = body(message.body, code, &mut decoder)?;
                    }
                    _ => return Err(DecodeError::Descriptor { expected: "message section", descriptor }),
                }
            }
        }
    }
    Ok(message)
}

/// The body with one section more. Sections of different kinds do not mix (AMQP 1.0, 3.2).
fn body(before: Body, code: u8, decoder: &mut Decoder<'_>) -> Result<Body, DecodeError> {
    let mixed = || DecodeError::Descriptor { expected: "body section of the kind before it", descriptor: code.into() };
    match code {
        section::DATA => {
            let bytes = decoder.binary()?.unwrap_or_default();
            match before {
                Body::Empty => Ok(Body::Data(bytes)),
                Body::Data(first) => Ok(Body::DataSections(vec![first, bytes])),
                Body::DataSections(mut sections) => {
                    sections.push(bytes);
                    Ok(Body::DataSections(sections))
                }
                _ => Err(mixed()),
            }
        }
        section::SEQUENCE => {
            let Value::List(items) = decoder.value()? else {
                return Err(DecodeError::Unexpected { expected: "a list", found: 0 });
            };
            match before {
                Body::Empty => Ok(Body::Sequence(vec![items])),
                Body::Sequence(mut sequences) => {
                    sequences.push(items);
                    Ok(Body::Sequence(sequences))
                }
                _ => Err(mixed()),
            }
        }
        _ => match before {
            Body::Empty => Ok(Body::Value(decoder.value()?)),
            _ => Err(mixed()),
        },
    }
}
