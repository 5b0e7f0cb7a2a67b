//! What a message may be, by whatever way it comes and goes.

use hubward_amqp::message::Message;

use super::size::message_size;
use crate::identity::is_id;

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("the message has {size} bytes, {limit} are allowed")]
    TooLarge { size: usize, limit: usize },
    #[error("{0:?} cannot be a message-id: at most 128 of A-Za-z0-9-:.+%_#*?!(),=@;$'")]
    MessageId(String),
}

/// The size of a message that may have `limit` bytes, or what is wrong with it.
///
/// The rule for message ids is documented (reference, 3.5). UNCONFIRMED: that the service holds messages to it, and with
/// which error; ids that are no text are not spoken of, and pass.
pub(crate) fn check(message: &Message, limit: usize) -> Result<usize, Unfit> {
    let size = message_size(message);
    if size > limit {
        return Err(Unfit::TooLarge { size, limit });
    }
    match message.properties.message_id.as_ref().and_then(|id| id.as_str()) {
        Some(id) if !id.is_empty() && !is_id(id) => {
            let shown: String = id.chars().take(128).collect();
            tracing::info!(id = shown, "a message-id with other characters than the documented ones: refused");
            Err(Unfit::MessageId(shown))
        }
        _ => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use hubward_amqp::types::Value;

    use super::*;

    fn with_id(id: Value) -> Message {
        let mut message = Message::data("x");
        message.properties.message_id = Some(id);
        message
    }

    #[test]
    fn a_message_id_has_the_documented_characters_and_no_more_than_128() {
        for id in ["", "a", "A-:.+%_#*?!(),=@;$'0", &"x".repeat(128)] {
            assert_eq!(check(&with_id(id.into()), 1000), Ok(1 + id.len()), "{id}");
        }
        for id in ["id 1", "a/b", "\u{fc}", "a\n", "{x}", &"x".repeat(129)] {
            let error = check(&with_id(id.into()), 1000).unwrap_err();
            assert!(matches!(error, Unfit::MessageId(_)), "{id}: {error}");
        }
        for id in [Value::Ulong(7), Value::Uuid([1; 16])] {
            assert!(check(&with_id(id.clone()), 1000).is_ok(), "{id:?}");
        }
    }

    #[test]
    fn a_message_may_have_so_many_bytes_and_none_more() {
        let message = Message::data(vec![7; 100]);
        assert_eq!(check(&message, 100), Ok(100));
        assert_eq!(check(&message, 99), Err(Unfit::TooLarge { size: 100, limit: 99 }));
    }
}
