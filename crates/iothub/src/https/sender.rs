//! A device that sends by HTTPS.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;

use super::{Client, encode, refusal};
use crate::link::{Closed, NotSent, SendError};
use crate::message::D2cMessage;
use crate::registry::http::Request;
use crate::sas::TokenSource;

/// In a path a device's id is one segment.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const API_VERSION: &str = "2021-04-12";

/// A device that sends by HTTPS. Dropping it closes nothing: the connections are the client's.
pub struct Sender {
    client: Client,
    /// Where its messages go, the id escaped.
    path: String,
    /// The same as the hub names it in `to`, the id as it is.
    to: String,
    tokens: TokenSource,
}

impl Sender {
    pub(super) fn new(client: Client, device_id: &str, tokens: TokenSource) -> Self {
        let escaped = utf8_percent_encode(device_id, ESCAPED);
        let path = format!("/devices/{escaped}/messages/events");
        Self { client, path, to: format!("/devices/{device_id}/messages/events"), tokens }
    }

    /// Sends messages in as few requests as they fit in, one request after the other, so that none overtakes another. Calls
    /// at the same time may overtake one another: who wants order waits for one before the next. A call given up may
    /// still be accepted.
    ///
    /// # Errors
    /// The hub refuses a request, does not answer in time, or cannot be reached, or the messages are too large to be sent;
    /// says how many were accepted before.
    pub async fn send(&self, batch: &[D2cMessage]) -> Result<(), NotSent> {
        encode::check(batch)?;
        let inner = &self.client.inner;
        let mut accepted = 0;
        while let Some(left) = batch.get(accepted..).filter(|left| !left.is_empty()) {
            let encode::Payload { count, headers, body } = encode::next(left, &self.to);
            let token = self.tokens.token();
            let request = Request {
                method: Method::POST,
                path: format!("{}?api-version={API_VERSION}", self.path),
                headers,
                authorization: Some(token.expose()),
                body: Some(body),
            };
            let not_sent = |error| NotSent { accepted, error };
            // The semaphore lives as long as the client and is never closed.
            let turn = inner.turns.acquire().await.map_err(|_| not_sent(SendError::ConnectionLost(Closed::Dropped)))?;
            let answered = inner.http.send_checked(request).await;
            drop(turn);
            answered.map_err(|error| not_sent(refusal::send_error(error)))?;
            accepted += count;
        }
        Ok(())
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("path", &self.path).finish_non_exhaustive()
    }
}
