//! The connections to a hub's HTTPS endpoint.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Sender;
use crate::connection_string::{HostName, HostNameError};
use crate::link::{self, Closed, Identity, OpenError, Target};
use crate::registry::http::Http;
use crate::sas::TokenSource;

/// So many requests may be under way at a time; the others wait for their turn.
const REQUESTS: usize = 64;

/// The connections to a hub's HTTPS endpoint, shared by all devices. Clones are the same client.
#[derive(Clone)]
pub struct Client {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) target: Target,
    pub(super) http: Http,
    pub(super) turns: Semaphore,
}

impl Client {
    /// A client for `target`, whose address is the hub's HTTPS endpoint. Nothing is opened before it is needed.
    ///
    /// # Errors
    /// The host's name cannot stand in a URL.
    pub fn new(target: &Target) -> Result<Self, OpenError> {
        let not_a_name = |_: HostNameError| OpenError::HostName(target.host_name.clone());
        let hub = HostName::new(&target.host_name, None).map_err(not_a_name)?;
        let timeouts = target.timeouts;
        let http = Http::open(&hub, &target.address, &target.tls, (timeouts.open, timeouts.disposition), REQUESTS)
            .map_err(|error| OpenError::Ended(Closed::Protocol(error.to_string())))?;
        let inner = Inner { target: target.clone(), http, turns: Semaphore::new(REQUESTS) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A device that sends by this client. Nothing is asked of the hub yet.
    #[must_use]
    pub fn sender(&self, identity: &Identity) -> Sender {
        let Identity { device_id, key } = identity.clone();
        let target = &self.inner.target;
        let tokens = TokenSource::device(&target.host_name, &device_id, key, target.lifetime, target.clock.clone());
        Sender::new(self.clone(), &device_id, tokens)
    }

    /// Opens TLS to the hub and closes it again: whether it is there.
    ///
    /// # Errors
    /// The hub cannot be reached, is not trusted or is silent.
    pub async fn reach(&self) -> Result<(), OpenError> {
        let target = &self.inner.target;
        let within = target.timeouts.open;
        let opening = link::tls(&target.address, &target.host_name, &target.tls);
        timeout(within, opening).await.unwrap_or(Err(OpenError::Silent(within.as_secs()))).map(drop)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.inner.http.host()).finish_non_exhaustive()
    }
}
