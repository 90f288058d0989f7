//! What stands before every route: that the visitor may ask, and that it is the visitor who asks
//! and no page of another site in the visitor's browser.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::Admin;
use super::api::Problem;
use super::gate::{Gate, Visitor};
use crate::clock::{Clock, Timestamp};

/// The cookie that holds a session.
pub(super) const SESSION_COOKIE: &str = "offhook_session";

/// Lets a visitor pass who may ask. A browser is asked for the token.
pub(super) async fn known(
    State(admin): State<Arc<Admin>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let for_programs = path.starts_with("/api/") || path == "/metrics";
    match visitor(&admin.gate, request.headers(), Clock::System.now()) {
        Some(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        None if for_programs => {
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response()
        }
        None => {
            let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("next", asked);
            Redirect::to(&format!("/login?{}", query.finish())).into_response()
        }
    }
}

fn visitor(gate: &Gate, headers: &HeaderMap, now: Timestamp) -> Option<Visitor> {
    if gate.is_open() {
        return Some(Visitor::Local);
    }
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    if bearer.is_some_and(|bearer| gate.is_token(bearer)) {
        return Some(Visitor::Bearer);
    }
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut sessions = cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix(SESSION_COOKIE)?.strip_prefix('='));
    let session = sessions.find(|session| gate.holds(session, now))?;
    Some(Visitor::Session(session.to_owned()))
}

/// Refuses what a page of another site may have sent.
pub(super) async fn same_site(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // A name that somebody else made point to this machine.
    if admin.gate.is_open() && !host.is_none_or(is_loopback) {
        let detail = "without a token this listener is asked as localhost only: set admin.token";
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    if !request.method().is_safe() && is_foreign(headers, host) {
        let detail = "this was sent by a page of another site";
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    next.run(request).await
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// By what browsers say; programs say nothing of the kind.
fn is_foreign(headers: &HeaderMap, host: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_none_or(|(_, origin)| Some(origin) != host)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn loopback_has_several_names() {
        for host in ["localhost", "LOCALHOST:8081", "127.0.0.1:1", "127.9.9.9", "[::1]:8081"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "localhost.x"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_site_gives_itself_away() {
        let check = |pairs: &[(&'static str, &'static str)], foreign: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_foreign(&headers, Some("localhost:8081")), foreign, "{pairs:?}");
        };
        check(&[], false);
        check(&[("origin", "http://localhost:8081")], false);
        check(&[("sec-fetch-site", "same-origin"), ("origin", "https://x.example")], false);
        check(&[("sec-fetch-site", "none")], false);
        check(&[("origin", "http://localhost:8082")], true);
        check(&[("origin", "null")], true);
        check(&[("sec-fetch-site", "same-site")], true);
        check(&[("sec-fetch-site", "cross-site")], true);
    }
}
