//! The private listener: metrics, health, and an API that reads the store. Never on the public
//! one.

mod api;
mod auth;
mod health;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use prometheus::{Registry, TextEncoder};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::backend::{DeadLetters, Durabilities, Need, Probe, Reader};

/// Where it listens, and who may ask.
#[derive(Debug, Clone)]
pub struct Config {
    /// On loopback, unless there is a token.
    pub listen: SocketAddr,
    /// Asked for by everything but the health checks.
    pub token: Option<SecretString>,
}

/// What the private listener shows.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Every metric of the process.
    pub registry: Registry,
    /// The store.
    pub reader: Reader,
    /// What no worker could store.
    pub dead_letters: DeadLetters,
    /// What this process needs to do its job.
    pub probes: Vec<(Need, Probe)>,
    /// Which durability is in force.
    pub durabilities: Durabilities,
    /// Asked for, if there is one.
    pub token: Option<SecretString>,
    /// Cancelled when the process stops: it is then no longer ready.
    pub stop: CancellationToken,
}

impl Admin {
    /// Its routes.
    pub fn router(self) -> Router {
        let admin = Arc::new(self);
        let guard = axum::middleware::from_fn_with_state(Arc::clone(&admin), auth::guard);
        Router::new()
            .route("/metrics", get(metrics))
            .route("/api/statuses/{sid}", get(api::status))
            .route("/api/events", get(api::events))
            .route("/api/dead-letters", get(api::dead_letters::list))
            .route("/api/dead-letters/{id}", get(api::dead_letters::show))
            .route("/api/dead-letters/replay", post(api::dead_letters::replay))
            .route("/api/dead-letters/purge", post(api::dead_letters::purge))
            .route_layer(guard)
            .route("/livez", get(health::live))
            .route("/readyz", get(health::ready))
            .with_state(admin)
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let families = admin.registry.gather();
    match TextEncoder::new().encode_to_string(&families) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "metrics cannot be written");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests;
