//! Who may ask: whoever has the token, or anybody on loopback if there is none.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

use super::Admin;

/// Lets a request pass that carries the token.
pub(super) async fn guard(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = &admin.token else { return next.run(request).await };
    let bearer = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    if bearer.is_some_and(|bearer| same(bearer, token.expose_secret())) {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response()
}

/// In constant time, and without telling the length: the MACs of both are compared.
fn same(given: &str, token: &str) -> bool {
    let mac = |text: &str| {
        let key = Hmac::<Sha256>::new_from_slice(b"offhook admin token");
        key.expect("HMAC takes a key of any length").chain_update(text)
    };
    mac(given).verify_slice(&mac(token).finalize().into_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn only_the_token_is_the_token() {
        assert!(same("secret", "secret"));
        for wrong in ["", "secre", "secret ", "Secret", "secretsecret"] {
            assert!(!same(wrong, "secret"), "{wrong}");
        }
    }
}
