//! Who an MQTT client is: the broker's question, answered by the registry from memory.

use futures_util::future::{BoxFuture, FutureExt};
use hubward_broker::{Authenticator, Grant, Login, Refusal};
use hubward_model::{DeviceId, DeviceKind};
use hubward_mqtt::topic::TopicFilter;
use hubward_registry::{ApiToken, LoginAttempt, LoginDevice, LoginRefused, Registry, SecretString, Verified};

/// Asks the registry.
pub struct RegistryAuthenticator {
    registry: Registry,
}

impl RegistryAuthenticator {
    /// Asks `registry`.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    async fn check(&self, login: Login) -> Result<Grant, Refusal> {
        let attempt = LoginAttempt {
            client_id: &login.client_id,
            username: login.username.as_deref(),
            password: login.password.as_ref(),
        };
        match self.registry.verify_login(&attempt).await {
            Ok(Verified::Device(device)) => device_grant(&device, login.password),
            Ok(Verified::App(token)) => {
                if let Err(error) = self.registry.note_token_use(&token.id).await {
                    tracing::warn!(%error, token = token.name, "the last use of a token was not noted");
                }
                app_grant(&token)
            }
            Err(LoginRefused::BadCredentials) => Err(Refusal::BadCredentials),
            Err(LoginRefused::Unavailable(error)) => {
                tracing::error!(%error, "a login could not be checked");
                Err(Refusal::Unavailable)
            }
        }
    }
}

impl Authenticator for RegistryAuthenticator {
    fn authenticate(&self, login: Login) -> BoxFuture<'_, Result<Grant, Refusal>> {
        self.check(login).boxed()
    }

    fn device_of_token(&self, token: &str) -> Option<DeviceId> {
        self.registry.device_of_token(token)
    }
}

fn device_grant(device: &LoginDevice, password: Option<SecretString>) -> Result<Grant, Refusal> {
    match device.kind {
        DeviceKind::Mqtt => {
            let own = device.topics.iter().filter_map(|text| filter(text)).collect();
            Grant::device(&device.id, own).map_err(|_| Refusal::NotAuthorized)
        }
        DeviceKind::Pycom => {
            // The registry verified it, so it is there.
            let token = password.ok_or(Refusal::BadCredentials)?;
            Grant::pycom(&device.id, token).map_err(|_| Refusal::NotAuthorized)
        }
    }
}

/// What an app may do: the filters of its token; a token for the API may do over MQTT what it may do there.
fn app_grant(token: &ApiToken) -> Result<Grant, Refusal> {
    let (mut publish, mut subscribe) = (Vec::new(), Vec::new());
    for scope in &token.scopes {
        let (up, down): (&[&str], &[&str]) = match scope.as_str() {
            "admin" | "operate" => (&["devices/+/commands/#"], &["devices/#"]),
            "read" => (&[], &["devices/#"]),
            other => {
                publish.extend(other.strip_prefix("publish:").and_then(filter));
                subscribe.extend(other.strip_prefix("subscribe:").and_then(filter));
                continue;
            }
        };
        publish.extend(up.iter().filter_map(|text| filter(text)));
        subscribe.extend(down.iter().filter_map(|text| filter(text)));
    }
    if publish.is_empty() && subscribe.is_empty() {
        return Err(Refusal::NotAuthorized);
    }
    Ok(Grant::app(token.id.clone(), publish, subscribe))
}

/// A stored filter; one that is none grants nothing.
fn filter(text: &str) -> Option<TopicFilter> {
    text.parse().inspect_err(|error| tracing::warn!(text, %error, "a stored topic filter is none")).ok()
}
