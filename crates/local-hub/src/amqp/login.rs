//! SASL PLAIN: a token, or a policy's key, as the password (reference, 1.2).

use hubward_amqp::sasl::{Plain, SaslCode};

use crate::access::{Grant, Principal};
use crate::state::State;

/// Lets in whoever `plain` proves to be.
///
/// `{device}@sas.{hub}` and `{policy}@sas.root.{hub}` come with a token, a bare policy name with its key as Event Hubs
/// clients send it. The hub's name is meant, not its host: the real hub answers a host with code 2.
pub(super) fn login(plain: &Plain, state: &State) -> Result<Grant, SaslCode> {
    let user = plain.user.as_str();
    let refused = |why: &dyn std::fmt::Display, code| {
        tracing::info!(user, %why, "amqp: SASL PLAIN refused");
        code
    };
    let Some((name, place)) = user.rsplit_once("@sas.") else {
        return state.access.check_key(user, &plain.password).map_err(|why| refused(&why, SaslCode::Auth));
    };
    let (hub, is_policy) = place.strip_prefix("root.").map_or((place, false), |hub| (hub, true));
    if !hub.eq_ignore_ascii_case(&state.names.hub) {
        return Err(refused(&format_args!("{hub:?} is not this hub's name"), SaslCode::Sys));
    }
    let grant = state.access.check(&plain.password).map_err(|why| refused(&why, SaslCode::Auth))?;
    let fits = match &grant.who {
        Principal::Policy { name: signer, .. } => !is_policy || *signer == name,
        Principal::Device { id, .. } => !is_policy && &**id == name,
    };
    if fits { Ok(grant) } else { Err(refused(&"the token is somebody else's", SaslCode::Auth)) }
}
