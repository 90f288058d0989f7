//! Asks Twilio before the next step of a route begins: a callback that is late, or lost, must not ring a recipient whose
//! message arrived.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Outbound;
use super::reconciler::{Rest, created};
use crate::backend::BackendError;
use crate::backend::outbox::OverStep;
use crate::crash_points::{self, Sabotage};
use crate::dispatch::decision::{ASK_AGAIN, Said};
use crate::dispatch::evidence::resource;
use crate::twilio::rest::{Message, ReadAnswer};

/// How often it is looked whether the time of a step is over.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For how many time-outs of a request one process asks before another may.
const BUSY: u32 = 2;

/// Asks until `stop`.
pub(super) async fn run(outbound: &Outbound, stop: &CancellationToken) {
    let mut rest = Rest::new(LOOK_EVERY, stop);
    while !stop.is_cancelled() {
        rest.after(some(outbound).await).await;
    }
}

/// Asks for the steps whose time is over, and returns whether there were any.
async fn some(outbound: &Outbound) -> Result<bool, BackendError> {
    let over = outbound.outbox.steps_to_ask(outbound.config.now().timeout * BUSY).await?;
    join_all(over.iter().map(|step| one(outbound, step))).await;
    Ok(!over.is_empty())
}

/// Asks for one, and decides about it. If that cannot be stored, it is asked for again once the process is not busy with
/// it any more.
async fn one(outbound: &Outbound, step: &OverStep) {
    let (said, message) = ask(outbound, step).await;
    let what = resource(step.channel);
    let event = message
        .as_ref()
        .and_then(|message| outbound.event(what, message, &step.account, Some(step.attempt)));
    match outbound.outbox.asked_for(step, said, event).await {
        Ok(concluded) => {
            outbound.concluded(&concluded);
            // It may be asked for again and again.
            let Some(why) = concluded.begun.first() else { return };
            info!(
                notification = step.notification,
                step = step.number,
                sid = step.sid,
                asked = matches!(said, Said::Answer),
                reason = why.as_str(),
                "the time of a step is over: the next one begins"
            );
        }
        Err(error) => {
            debug!(notification = step.notification, error = %error, "what Twilio said of a step cannot be stored");
        }
    }
}

/// What Twilio says of the message or the call.
async fn ask(outbound: &Outbound, step: &OverStep) -> (Said, Option<Message>) {
    let Some(what) = created(step.channel) else { return (Said::EventsAlone, None) };
    let Some(sid) = step.sid.as_deref() else { return (Said::NoSid, None) };
    if crash_points::is_sabotaged(Sabotage::EscalatesOnSilence) {
        return (Said::Answer, None);
    }
    let config = outbound.config.now();
    let sender = config.sender(&step.sender).filter(|sender| sender.account == step.account);
    // A reload, or another process's configuration.
    let Some(sender) = sender else { return (Said::Nothing { again: ASK_AGAIN }, None) };
    match outbound.rest.fetch(what, &step.account, &sender.credentials, sid).await {
        ReadAnswer::Found(message) => (Said::Answer, Some(message)),
        ReadAnswer::Missing => (Said::Answer, None),
        ReadAnswer::Throttled { retry_after } => {
            let again = retry_after.unwrap_or(ASK_AGAIN).max(ASK_AGAIN);
            (Said::Nothing { again }, None)
        }
        ReadAnswer::Failed { status, code } => {
            debug!(sid, status, code, "Twilio does not say how a step stands");
            (Said::Nothing { again: ASK_AGAIN }, None)
        }
    }
}
