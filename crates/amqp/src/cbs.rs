//! Claims based security: tokens put to the node `$cbs` (OASIS draft "AMQP Claims-based Security 1.0";
//! docs: IoT Hub wire reference, section 3.2).

use std::fmt;

use crate::message::{Body, Message};
use crate::types::{Text, Value};

/// The address of the node.
pub const ADDRESS: &str = "$cbs";

/// The token type of SAS tokens.
pub const SAS_TOKEN: &str = "servicebus.windows.net:sastoken";

/// A request to take a token.
#[derive(Clone, PartialEq, Eq)]
pub struct PutToken {
    /// The audience. Clients spell it in many ways, so a server should go by the token's own `sr`.
    pub name: String,
    /// What kind of token it is.
    pub token_type: String,
    /// The token.
    pub token: String,
    /// When it expires: milliseconds since the Unix epoch. Few clients say so.
    pub expiration: Option<i64>,
}

/// The answer to a request on a node such as `$cbs` or `$management`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// As in HTTP. Success must be exactly 200, for Node's client takes nothing else.
    pub status_code: i32,
    /// For people.
    pub status_description: String,
}

/// Why a message is no put-token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Another operation, or none.
    #[error("the operation is not put-token")]
    Operation,
    /// The application property `name` or `type` is missing.
    #[error("the application property \"{0}\" is missing")]
    Property(&'static str),
    /// The body is no string.
    #[error("the body is not a token")]
    Token,
}

impl PutToken {
    /// The request with a message-id of the caller's choice, by which it finds the answer.
    pub fn to_message(&self, id: Value) -> Message {
        let mut message = Message::value(self.token.as_str());
        message.properties.message_id = Some(id);
        message.properties.to = Some(Text::from_static(ADDRESS));
        let properties = &mut message.application_properties;
        properties.push((Text::from_static("operation"), "put-token".into()));
        properties.push((Text::from_static("type"), self.token_type.as_str().into()));
        properties.push((Text::from_static("name"), self.name.as_str().into()));
        if let Some(at) = self.expiration {
            properties.push((Text::from_static("expiration"), Value::Timestamp(at)));
        }
        message
    }

    /// Reads a request.
    pub fn from_message(message: &Message) -> Result<PutToken, BadRequest> {
        let text = |name| message.application_property(name).and_then(Value::as_str).map(str::to_owned);
        if text("operation").as_deref() != Some("put-token") {
            return Err(BadRequest::Operation);
        }
        let token = match &message.body {
            Body::Value(Value::String(token)) => token.to_string(),
            Body::Value(Value::Binary(bytes)) | Body::Data(bytes) => {
                String::from_utf8(bytes.to_vec()).map_err(|_| BadRequest::Token)?
            }
            _ => return Err(BadRequest::Token),
        };
        Ok(PutToken {
            name: text("name").ok_or(BadRequest::Property("name"))?,
            token_type: text("type").ok_or(BadRequest::Property("type"))?,
            token,
            expiration: message.application_property("expiration").and_then(Value::as_i64),
        })
    }
}

impl fmt::Debug for PutToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutToken").field("name", &self.name).field("type", &self.token_type).finish_non_exhaustive()
    }
}

impl Reply {
    /// An answer with that status.
    pub fn new(status_code: i32, status_description: impl Into<String>) -> Reply {
        Reply { status_code, status_description: status_description.into() }
    }

    /// Whether the request was carried out.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status_code)
    }

    /// The answer to `request`: its message-id comes back as correlation-id, in the same AMQP type.
    pub fn to_message(&self, request: &Message) -> Message {
        let mut message = Message::value(Value::Null);
        message.properties.correlation_id = request.properties.message_id.clone();
        message.application_properties = vec![
            (Text::from_static("status-code"), Value::Int(self.status_code)),
            (Text::from_static("status-description"), self.status_description.as_str().into()),
        ];
        message
    }

    /// Reads the status of an answer.
    pub fn from_message(message: &Message) -> Option<Reply> {
        let property = |a, b| message.application_property(a).or_else(|| message.application_property(b));
        let code = property("status-code", "statusCode")?.as_i64()?;
        let text = property("status-description", "statusDescription").and_then(Value::as_str);
        Some(Reply::new(i32::try_from(code).ok()?, text.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> PutToken {
        PutToken {
            name: "hub.azure-devices.net/devices/dev1".into(),
            token_type: SAS_TOKEN.into(),
            token: "SharedAccessSignature sr=x".into(),
            expiration: Some(1_700_000_000_000),
        }
    }

    #[test]
    fn a_request_survives_the_wire_and_its_reply_has_the_id_in_the_same_type() {
        for id in [Value::Ulong(0), Value::Uuid([7; 16]), "text".into()] {
            let message = Message::decode(&request().to_message(id.clone()).to_bytes()).expect("our own message");
            assert_eq!(PutToken::from_message(&message), Ok(request()));
            let reply = Reply::new(200, "OK").to_message(&message);
            assert_eq!(reply.properties.correlation_id, Some(id));
            assert_eq!(reply.application_property("status-code"), Some(&Value::Int(200)));
            assert_eq!(Reply::from_message(&reply), Some(Reply::new(200, "OK")));
        }
    }

    #[test]
    fn what_is_no_request_is_refused_by_what_it_lacks() {
        let mut message = request().to_message(Value::Ulong(1));
        message.application_properties.retain(|(key, _)| key != "name");
        assert_eq!(PutToken::from_message(&message), Err(BadRequest::Property("name")));
        message.body = Body::Empty;
        assert_eq!(PutToken::from_message(&message), Err(BadRequest::Token));
        assert_eq!(PutToken::from_message(&Message::default()), Err(BadRequest::Operation));
    }

    #[test]
    fn a_token_never_shows_in_debug_text() {
        assert!(!format!("{:?}", request()).contains("Signature"));
    }
}
