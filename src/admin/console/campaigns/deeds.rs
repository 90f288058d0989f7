//! Pauses, resumes and cancels a campaign, after a question. It is started elsewhere: who starts it says how many it reaches.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use tracing::info;

use super::{missing, path};
use crate::admin::Admin;
use crate::admin::api::Problem;
use crate::admin::auth::Visitor;
use crate::admin::console::form::Form;
use crate::admin::console::format;
use crate::admin::console::layout::{self, NavPage};
use crate::backend::BackendError;
use crate::backend::outbox::{Campaign, CampaignOutcome, CampaignState};
use crate::labels::{Label as _, labels};

labels! {
    /// What may be done with a campaign here.
    enum Deed {
        /// Nothing of it is sent until it is resumed.
        Pause = "pause",
        /// It goes on.
        Resume = "resume",
        /// Nothing of it is sent any more.
        Cancel = "cancel",
    }
}

impl Deed {
    const fn verb(self) -> &'static str {
        match self {
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Cancel => "Cancel",
        }
    }

    const fn follows(self) -> &'static str {
        match self {
            Self::Pause => {
                "Nothing of it is sent until it is resumed. What is on its way at this moment may still arrive."
            }
            Self::Resume => {
                "It goes on where it stopped. If it has stopped itself, find the cause first."
            }
            Self::Cancel => {
                "What has not been sent is not sent. What is on its way at this moment may still arrive. This cannot be \
                 taken back."
            }
        }
    }

    /// What may be done in this state.
    const fn of(state: CampaignState) -> &'static [Self] {
        match state {
            CampaignState::Running => &[Self::Pause, Self::Cancel],
            CampaignState::Paused | CampaignState::Stopped => &[Self::Resume, Self::Cancel],
            CampaignState::Draft => &[Self::Cancel],
            CampaignState::Planning | CampaignState::Cancelled | CampaignState::Finished => &[],
        }
    }

    async fn does(self, admin: &Admin, id: &str) -> Result<Option<CampaignOutcome>, BackendError> {
        let outbox = &admin.sending.outbox;
        match self {
            Self::Pause => outbox.pause_campaign(id).await,
            Self::Resume => outbox.resume_campaign(id).await,
            Self::Cancel => outbox.cancel_campaign(id).await,
        }
    }
}

/// The buttons, where there is something to do.
pub(super) fn offer(admin: &Admin, visitor: &Visitor, campaign: &Campaign) -> Markup {
    let deeds = Deed::of(campaign.state);
    if deeds.is_empty() {
        return html! {};
    }
    if !visitor.may_change() {
        return html! { p { "This login is read-only. To change something, log in with admin.token." } };
    }
    html! {
        form class="actions" method="post" action="/campaigns/confirm" {
            (layout::proof(admin, visitor))
            input type="hidden" name="id" value=(campaign.id);
            @for deed in deeds {
                button name="deed" value=(deed.as_str()) class=[(*deed == Deed::Cancel).then_some("danger")] {
                    (deed.verb()) "…"
                }
            }
        }
    }
}

/// A form of this page, and what it asks for.
fn asked(body: &Bytes, admin: &Admin, visitor: &Visitor) -> Result<(Deed, String), Problem> {
    let form = Form::of_ours(body, admin, visitor)?;
    let deed = Deed::parse(form.get("deed"));
    let deed =
        deed.ok_or_else(|| Problem::bad("The form names no action. Go back and try again."))?;
    Ok((deed, form.get("id").to_owned()))
}

/// `POST /campaigns/confirm`: the question.
pub(in crate::admin::console) async fn confirm(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    let (deed, id) = match asked(&body, &admin, &visitor) {
        Ok(asked) => asked,
        Err(problem) => return layout::failure(&admin, &visitor, &problem),
    };
    let body = html! {
        h1 { (deed.verb()) " this campaign?" }
        p class="lead" { (deed.follows()) }
        p class="sid" { (id) }
        form class="actions" method="post" action="/campaigns/act" {
            (layout::proof(&admin, &visitor))
            input type="hidden" name="id" value=(id);
            button name="deed" value=(deed.as_str()) class=[(deed == Deed::Cancel).then_some("danger")] {
                (deed.verb()) " the campaign"
            }
            a class="button quiet" href=(path(&id)) { "Back" }
        }
    };
    layout::page(&admin, &visitor, NavPage::Campaigns, deed.verb(), &body)
}

/// `POST /campaigns/act`
pub(in crate::admin::console) async fn act(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    let done = async {
        let (deed, id) = asked(&body, &admin, &visitor)?;
        let outcome = deed.does(&admin, &id).await?.ok_or_else(missing)?;
        Ok::<_, Problem>((deed, id, outcome))
    };
    let (deed, id, outcome) = match done.await {
        Ok(done) => done,
        Err(problem) => return layout::failure(&admin, &visitor, &problem),
    };
    let (state, in_writing) = (outcome.state.as_str(), outcome.in_writing);
    info!(
        campaign = id,
        deed = deed.as_str(),
        state,
        changed = outcome.changed,
        in_writing,
        "an operator has acted on a campaign"
    );
    let body = html! {
        h1 { "The campaign is " (state) }
        @if !outcome.changed { p class="lead" { "Nothing was changed: it was " (state) " before." } }
        p {
            (format::number_of(in_writing, "message is", "messages are"))
            " on the way at this moment, and may still arrive."
        }
        p { a class="button" href=(path(&id)) { "Back to the campaign" } }
    };
    layout::page(&admin, &visitor, NavPage::Campaigns, "Campaign", &body)
}
