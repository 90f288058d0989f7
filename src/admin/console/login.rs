//! The token is asked for once, and becomes a session.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use tokio::time::timeout;

use super::form::Form;
use super::layout;
use crate::admin::Admin;
use crate::admin::auth::{Auth, SESSION_COOKIE, Visitor};

/// Bytes of a login, of which the token is most, and how long they may take: anybody can send one.
const BODY: usize = 8 * 1024;
const BODY_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Deserialize)]
pub(super) struct LoginQuery {
    #[serde(default)]
    next: String,
}

/// `GET /login?next=…`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Query(LoginQuery { next }): Query<LoginQuery>,
) -> Response {
    match admin.auth.is_open() {
        true => Redirect::to("/").into_response(),
        false => ask(&next, ""),
    }
}

/// `POST /login`
pub(super) async fn enter(State(admin): State<Arc<Admin>>, body: Body) -> Response {
    let body = match timeout(BODY_WITHIN, to_bytes(body, BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let (form, now) = (Form::parse(&body), admin.clock.now());
    let next = form.get("next");
    let Some(may) = admin.auth.allows(form.get("token").trim()) else {
        admin.auth.refuse(now).await;
        return (StatusCode::FORBIDDEN, ask(next, "Wrong token.")).into_response();
    };
    let session = admin.auth.begin_session(may, now);
    let cookie = cookie(&session, Auth::session_seconds());
    ([(SET_COOKIE, cookie)], Redirect::to(own(next))).into_response()
}

/// `POST /logout`
pub(super) async fn leave(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    match Form::of_ours(&body, &admin, &visitor) {
        Ok(_) => {
            if let Visitor::Session(session, _) = &visitor {
                admin.auth.end_session(session);
            }
            ([(SET_COOKIE, cookie("", 0))], Redirect::to("/login")).into_response()
        }
        Err(problem) => layout::failure(&admin, &visitor, &problem),
    }
}

fn ask(next: &str, error: &str) -> Response {
    let body = html! {
        form class="login" method="post" action="/login" {
            h1 { "Log in" }
            p { "Enter this server's token: " code { "admin.token" } " in its configuration." }
            input type="hidden" name="next" value=(own(next));
            label for="token" { "Token" }
            // Password managers keep what has a name.
            input class="hidden" name="username" value="admin" autocomplete="username" tabindex="-1"
                aria-hidden="true" readonly;
            input id="token" type="password" name="token" autocomplete="current-password" required
                autofocus aria-describedby=[(!error.is_empty()).then_some("error")];
            @if !error.is_empty() { p id="error" class="error" role="alert" { (error) } }
            button { "Log in" }
        }
    };
    layout::whole("Log in", &html! {}, &body)
}

/// `Secure` is not said, since TLS, if there is any, ends before us and may not be there at all.
fn cookie(session: &str, seconds: u64) -> String {
    format!("{SESSION_COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}")
}

/// A path of ours, and nothing that a browser takes for another site.
fn own(next: &str) -> &str {
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let ours = next.starts_with('/') && !next.starts_with("//") && plain;
    if ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::own;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for path in ["/", "/search?q=CA1", "/sid/CA1"] {
            assert_eq!(own(path), path);
        }
        for other in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/\n/x"] {
            assert_eq!(own(other), "/", "{other:?}");
        }
    }
}
