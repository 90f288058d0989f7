//! Cancels a notification, after a question.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use tracing::info;

use super::missing;
use crate::admin::Admin;
use crate::admin::api::Problem;
use crate::admin::auth::Visitor;
use crate::admin::console::form::Form;
use crate::admin::console::format;
use crate::admin::console::layout::{self, NavPage};
use crate::backend::outbox::{CancelOutcome, Notification};
use crate::dispatch::NotificationState;

/// Why a notification is open that was cancelled while it was being sent.
pub(super) const CANCELLED: &str = "cancelled";

/// The button, where there is something to cancel.
pub(super) fn offer(admin: &Admin, visitor: &Visitor, one: &Notification) -> Markup {
    let is_cancelled = one.reason.as_deref() == Some(CANCELLED);
    if one.state != NotificationState::Open || is_cancelled {
        return html! {};
    }
    if !visitor.may_change() {
        return html! { p { "This login is read-only. To cancel this, log in with admin.token." } };
    }
    html! {
        form class="actions" method="post" action="/notifications/confirm" {
            (layout::proof(admin, visitor))
            button name="id" value=(one.id) class="danger" { "Cancel…" }
        }
    }
}

/// `POST /notifications/confirm`: the question.
pub(in crate::admin::console) async fn confirm(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    let form = match Form::of_ours(&body, &admin, &visitor) {
        Ok(form) => form,
        Err(problem) => return layout::failure(&admin, &visitor, &problem),
    };
    let id = form.get("id");
    let body = html! {
        h1 { "Cancel this notification?" }
        p class="lead" {
            "What has not been sent is not sent, and a call that rings is cancelled. What is on its way at this moment may \
             still arrive. This cannot be taken back."
        }
        p class="sid" { (id) }
        form class="actions" method="post" action="/notifications/cancel" {
            (layout::proof(&admin, &visitor))
            button name="id" value=(id) class="danger" { "Cancel the notification" }
            a class="button quiet" href={ "/notifications/" (format::in_path(id)) } { "Keep it" }
        }
    };
    layout::page(&admin, &visitor, NavPage::Notifications, "Cancel", &body)
}

/// `POST /notifications/cancel`
pub(in crate::admin::console) async fn cancel(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    let form = match Form::of_ours(&body, &admin, &visitor) {
        Ok(form) => form,
        Err(problem) => return layout::failure(&admin, &visitor, &problem),
    };
    let id = form.get("id");
    match admin.sending.outbox.cancel(id).await {
        Ok(Some(CancelOutcome { state, in_writing, hanging_up })) => {
            info!(
                notification = id,
                state = state.as_str(),
                in_writing,
                hanging_up,
                "an operator has cancelled a notification"
            );
            Redirect::to(&format!("/notifications/{}", format::in_path(id))).into_response()
        }
        Ok(None) => layout::failure(&admin, &visitor, &missing()),
        Err(error) => layout::failure(&admin, &visitor, &Problem::from(error)),
    }
}
