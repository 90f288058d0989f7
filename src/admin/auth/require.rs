//! What stands before every route: that the visitor may ask, and that it is the visitor who asks
//! and no page of another site in the visitor's browser.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::{Auth, Visitor};
use crate::admin::Admin;
use crate::admin::api::Problem;
use crate::clock::Timestamp;
use crate::http::Caller;

/// The cookie that holds a session.
pub(in crate::admin) const SESSION_COOKIE: &str = "offhook_session";

/// Lets a visitor pass who may ask. A browser is asked for the token.
pub(in crate::admin) async fn require_auth(
    State(admin): State<Arc<Admin>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let for_programs = path.starts_with("/api/") || path == "/metrics";
    let now = admin.clock.now();
    match visitor(&admin.auth, request.headers(), now) {
        Ok(visitor) => {
            let changes = !request.method().is_safe() && path != "/logout";
            if changes && !visitor.may_change() {
                let detail = "this token may look, and change nothing: it is admin.read_token";
                return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
            }
            if let Some(caller) = request.extensions().get::<Caller>() {
                caller.vouch();
            }
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(given) if for_programs => {
            if given == Given::Wrong {
                admin.auth.refuse(now).await;
            }
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response()
        }
        Err(given) => {
            if given == Given::Wrong {
                admin.auth.refuse(now).await;
            }
            let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("next", asked);
            Redirect::to(&format!("/login?{}", query.finish())).into_response()
        }
    }
}

/// What a request brought that may not ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Given {
    /// No token.
    Nothing,
    /// A token that is not configured.
    Wrong,
}

fn visitor(auth: &Auth, headers: &HeaderMap, now: Timestamp) -> Result<Visitor, Given> {
    if auth.is_open() {
        return Ok(Visitor::Local);
    }
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    if let Some(may) = bearer.and_then(|bearer| auth.allows(bearer)) {
        return Ok(Visitor::Bearer(may));
    }
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut sessions = cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix(SESSION_COOKIE)?.strip_prefix('='));
    let session = sessions.find_map(|session| Some((session, auth.session(session, now)?)));
    match session {
        Some((session, may)) => Ok(Visitor::Session(session.to_owned(), may)),
        None if bearer.is_some_and(|bearer| !bearer.is_empty()) => Err(Given::Wrong),
        None => Err(Given::Nothing),
    }
}

/// Refuses what a page of another site may have sent.
pub(in crate::admin) async fn require_same_site(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // A name that somebody else made point to this machine.
    if admin.auth.is_open() && !host.is_none_or(is_loopback) {
        let detail = "without a token this listener is asked as localhost only: set admin.token";
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    let foreign = is_foreign(headers, host);
    // A link that a person followed leads to a page, which the other site cannot read.
    let followed = request.method().is_safe() && is_followed_link(headers, request.uri().path());
    if foreign && !followed {
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

/// A person's click, as browsers say it, that leads to a page and not to what programs ask.
fn is_followed_link(headers: &HeaderMap, path: &str) -> bool {
    let is = |name: &str, expected: &str| {
        headers.get(name).is_some_and(|value| value.as_bytes() == expected.as_bytes())
    };
    is("sec-fetch-user", "?1")
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
        && !path.starts_with("/api/")
        && path != "/metrics"
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
