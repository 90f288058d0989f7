//! Suppressions: who must not be reached.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Api, TokenId, unavailable};
use crate::backend::outbox::{NewSuppression, ROWS_PER_PAGE, Suppression};
use crate::clock::Timestamp;
use crate::dispatch::recipient::Recipient;
use crate::dispatch::suppression::Source;
use crate::event::consent::{addresses, is_hash};
use crate::http::problem::Problem;
use crate::outbound::Hashes;

/// Most entries of one request to import: each is two rows of one transaction, which holds up what is sent.
const MOST_IMPORTED: usize = 500;

/// One address.
#[derive(Debug, Serialize)]
pub(super) struct SuppressionView {
    to: Option<String>,
    hash: String,
    source: String,
    at: Timestamp,
}

/// A page of them.
#[derive(Debug, Serialize)]
pub(super) struct SuppressionPage {
    suppressions: Vec<SuppressionView>,
    /// `after` of the next page; null if this is the last. A page may have fewer entries than its limit.
    next: Option<String>,
}

/// The query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<u32>,
}

/// `GET /api/suppressions?after=…&limit=…`, by hash.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<SuppressionPage>, Problem> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(100).clamp(1, ROWS_PER_PAGE);
    let after = query.after.unwrap_or_default();
    let (found, next) = api.outbox.suppressions(&after, limit).await.map_err(unavailable)?;
    let view = |it: Suppression| SuppressionView {
        to: it.to,
        hash: it.to_hash,
        source: it.source,
        at: it.at,
    };
    Ok(Json(SuppressionPage { suppressions: found.into_iter().map(view).collect(), next }))
}

/// The body of both changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressAsk {
    to: String,
}

/// It is done.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    suppressed: bool,
}

/// The entries of a number, one for each channel, or the one of an email address.
fn entries(hashes: &Hashes, to: &str, stop: bool, source: Source) -> Option<Vec<NewSuppression>> {
    let addresses = match Recipient::parse(to)? {
        Recipient::Number(number) => addresses(number.as_str()).to_vec(),
        Recipient::Email(address) => vec![address.as_str().to_owned()],
    };
    let entry = |to: String| {
        let to_hash = hashes.address(&to);
        NewSuppression { to: Some(to), to_hash, stop, source }
    };
    Some(addresses.into_iter().map(entry).collect())
}

fn unprocessable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail.into())
}

async fn enter(
    api: &Api,
    token: &str,
    asked: Result<Json<AddressAsk>, JsonRejection>,
    stop: bool,
) -> Result<Json<Done>, Problem> {
    let Json(asked) = asked?;
    let entries = entries(api.hashes().await?, &asked.to, stop, Source::Hand);
    let entries = entries.ok_or_else(|| {
        unprocessable("`to`: it is not a number in E.164, such as +15550100, nor an email address")
    })?;
    api.outbox.suppress(&entries).await.map_err(unavailable)?;
    info!(token, suppressed = stop, "an entry of the suppressions is made by hand");
    Ok(Json(Done { suppressed: stop }))
}

/// `POST /api/suppressions`
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    asked: Result<Json<AddressAsk>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    enter(&api, &token, asked, true).await
}

/// `POST /api/suppressions/lift`
pub(super) async fn lift(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    asked: Result<Json<AddressAsk>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    enter(&api, &token, asked, false).await
}

/// The body of an import.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportAsk {
    entries: Vec<ImportedEntry>,
}

/// A number, an email address, or one of both of which only the hash is left.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportedEntry {
    to: Option<String>,
    hash: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Imported {
    /// Addresses that are suppressed now: two of each number, and one of each email.
    added: u64,
    /// Addresses that a person has suppressed before.
    known: u64,
}

/// `POST /api/suppressions/import`: all of it, or nothing.
pub(super) async fn import(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    asked: Result<Json<ImportAsk>, JsonRejection>,
) -> Result<Json<Imported>, Problem> {
    let Json(asked) = asked?;
    if asked.entries.len() > MOST_IMPORTED {
        return Err(unprocessable(format!(
            "`entries`: there are more than {MOST_IMPORTED}: send them in several requests"
        )));
    }
    let hashes = api.hashes().await?;
    let mut new = Vec::new();
    for (place, entry) in asked.entries.iter().enumerate() {
        let source = Source::Import;
        match (&entry.to, &entry.hash) {
            (Some(to), None) => new.extend(entries(hashes, to, true, source).ok_or_else(|| {
                unprocessable(format!(
                    "`entries[{place}].to`: it is not a number in E.164, nor an email address"
                ))
            })?),
            (None, Some(hash)) if is_hash(hash) => {
                new.push(NewSuppression { to: None, to_hash: hash.clone(), stop: true, source });
            }
            (None, Some(_)) => {
                let detail = format!("`entries[{place}].hash`: it is not a hash of the export");
                return Err(unprocessable(detail));
            }
            _ => {
                let detail = format!("`entries[{place}]`: give it either `to` or `hash`");
                return Err(unprocessable(detail));
            }
        }
    }
    let added = api.outbox.import(&new).await.map_err(unavailable)?;
    let known = new.len() as u64 - added;
    info!(token, added, known, "suppressions are imported");
    Ok(Json(Imported { added, known }))
}
