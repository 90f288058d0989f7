//! [`Request`]: what a provider is asked for one attempt.

use std::time::Duration;

use super::Outbound;
use super::config::{Config, Credentials, Origin, Sender};
use super::rest::Created;
use crate::backend::outbox::Letter;
use crate::dispatch::call::CallPlan;
use crate::dispatch::recipient::Mailbox;
use crate::dispatch::{Confirm, reconcile};
use crate::event::{AttemptId, Resource};
use crate::sendgrid::mail::NewMail;
use crate::twilio::rest::{
    self, NewCall, NewMessage, SentBy, Spoken, status_callback, voice_confirm,
};

/// What a provider is asked for one attempt.
pub(super) enum Request {
    /// Twilio, to create this from a form.
    Create(rest::Created, String),
    /// SendGrid, to send an email.
    Send {
        /// The email.
        json: String,
        /// What it comes from.
        from: Mailbox,
    },
}

impl Request {
    /// What an attempt asks for; `validity`: how long the provider may try. `None` if its sender is another one now.
    pub(super) fn of(
        config: &Config,
        sender: &Sender,
        id: AttemptId,
        letter: &Letter,
        validity: Duration,
    ) -> Option<Self> {
        if let Some(mail) = &letter.mail {
            let Origin::Mailbox(from) = &sender.origin else { return None };
            let json = NewMail {
                to: &letter.to,
                from,
                subject: &mail.subject,
                text: &letter.body,
                html: mail.html.as_deref(),
                category: letter.campaign.as_deref(),
                attempt: id,
            };
            return Some(Self::Send { json: json.json(), from: from.clone() });
        }
        let callback = status_callback(&config.callback_url, id);
        // A notification that goes by a route has the number as it is.
        let to = sender.address(&letter.to);
        let Some(plan) = &letter.call else {
            let message = NewMessage {
                to: &to,
                by: sent_by(sender)?,
                body: &letter.body,
                status_callback: &callback,
                validity_period: u32::try_from(validity.as_secs()).unwrap_or(u32::MAX),
            };
            return Some(Self::Create(rest::Created::Message, message.form()));
        };
        let Origin::From(from) = &sender.origin else { return None };
        let call = NewCall {
            to: &to,
            from,
            twiml: &twiml(config, plan, &letter.body, id),
            timeout_s: plan.timeout_s,
            time_limit_s: plan.time_limit_s,
            status_callback: &callback,
            detects_machines: plan.confirm == Confirm::Human,
        };
        Some(Self::Create(rest::Created::Call, call.form()))
    }

    /// Asks, once.
    pub(super) async fn make(
        &self,
        outbound: &Outbound,
        letter: &Letter,
        by: &Credentials,
    ) -> Created {
        match (self, &outbound.sendgrid) {
            (Self::Create(what, form), _) => {
                outbound.rest.create(*what, &letter.account, by, form.clone()).await
            }
            (Self::Send { json, from }, Some(sendgrid)) => {
                sendgrid.send(by, json.clone(), &letter.to, from).await
            }
            // A process that began without a sender of emails.
            (Self::Send { .. }, None) => Created::Unsent,
        }
    }

    /// What comes of it.
    pub(super) const fn resource(&self) -> Resource {
        match self {
            Self::Create(rest::Created::Message, _) => Resource::Message,
            Self::Create(rest::Created::Call, _) => Resource::Call,
            Self::Send { .. } => Resource::Email,
        }
    }

    /// When it is looked for if its outcome is unknown.
    pub(super) fn look_after(&self, config: &Config, letter: &Letter) -> Duration {
        match self {
            Self::Create(..) => config.first_look(),
            Self::Send { .. } => {
                let left = letter.deadline.since(letter.written_at);
                reconcile::silence(config.silence(), left)
            }
        }
    }
}

/// The TwiML of a call.
pub(super) fn twiml(config: &Config, plan: &CallPlan, text: &str, id: AttemptId) -> String {
    let spoken = Spoken { text, language: plan.language.as_deref(), voice: plan.voice.as_deref() };
    let action = (plan.confirm == Confirm::Digit).then(|| voice_confirm(&config.confirm_url, id));
    spoken.twiml(action.as_deref())
}

fn sent_by(sender: &Sender) -> Option<SentBy<'_>> {
    match &sender.origin {
        Origin::From(from) => Some(SentBy::From(from)),
        Origin::MessagingService(sid) => Some(SentBy::Service(sid)),
        Origin::Mailbox(_) => None,
    }
}
