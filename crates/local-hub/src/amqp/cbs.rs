//! `$cbs`: tokens put on a connection (reference, 3.2).

use hubward_amqp::cbs::{PutToken, Reply};
use hubward_amqp::message::Message;

use super::tokens::Tokens;
use crate::access::Denied;
use crate::state::State;

/// The one kind of token this hub takes.
const SAS: &str = "servicebus.windows.net:sastoken";

/// Carries out a request, and answers it. What may be done is told by the token's own resource; the request's name for
/// it is spelled in too many ways.
///
/// UNCONFIRMED (reference, 3.2 and 10): the service's texts. Node takes any status but 200 for a refusal.
pub(super) fn put_token(request: &Message, tokens: &mut Tokens, state: &State) -> Reply {
    let request = match PutToken::from_message(request) {
        Ok(request) => request,
        Err(why) => {
            tracing::info!(%why, "amqp: a request on $cbs is not understood");
            return Reply::new(400, why.to_string());
        }
    };
    if request.token_type != SAS {
        tracing::info!(kind = request.token_type, "amqp: only SAS tokens are taken");
        return Reply::new(400, format!("tokens of type {:?} are not taken", request.token_type));
    }
    let granted = state.access.check(&request.token);
    match granted {
        Ok(grant) => match tokens.put(grant) {
            Ok(()) => Reply::new(200, "OK"),
            Err(why) => {
                tracing::info!(name = request.name, %why, "amqp: token refused");
                Reply::new(403, format!("IotHubMaxCbsTokenExceeded: {why}"))
            }
        },
        Err(why) => {
            tracing::info!(name = request.name, %why, "amqp: token refused");
            tokens.refuse(&why);
            // UNCONFIRMED (reference, 2.8 and 10): an absent device is documented as 401003, like a bad token.
            let code = if matches!(why, Denied::Malformed(_)) { 400 } else { 401 };
            Reply::new(code, why.to_string())
        }
    }
}
