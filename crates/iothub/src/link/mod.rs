//! What all ways up to a hub share: where it is, who sends, how patiently, and what can go wrong.

mod error;
mod stream;
mod target;
mod websocket;

pub use error::{AttachError, Closed, DetachError, NotSent, OpenError, SendError};
pub use target::{Carrier, Identity, Target, Timeouts};

pub(crate) use stream::{Stream, open, plain, tls};
pub(crate) use websocket::Subprotocol;
