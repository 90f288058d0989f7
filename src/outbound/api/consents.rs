//! Consents: who has agreed to be sent marketing.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::request::wrong;
use super::{Api, TokenId, unavailable};
use crate::backend::outbox::{Agreement, ConsentEntry, NewConsent, NewNotification};
use crate::clock::Timestamp;
use crate::dispatch::Purpose;
use crate::dispatch::gates::Gate;
use crate::dispatch::recipient::Recipient;
use crate::event::consent::addresses;
use crate::http::problem::Problem;
use crate::outbound::Hashes;

/// Most entries of one request to import: each is two rows of one transaction.
const MOST_IMPORTED: usize = 500;
/// Longest source, in bytes.
const LONGEST_SOURCE: usize = 255;
/// Longest text that was shown, in bytes.
const LONGEST_TEXT: usize = 4096;

/// Why an entry is refused: its field, and what is wrong with it.
type Wrong = (&'static str, String);

/// The addresses of a recipient: one of each channel of a number, or the one of an email.
fn reached(to: &str) -> Result<Vec<String>, Wrong> {
    let wrong = "it is not a number in E.164, such as +15550100, nor an email address";
    match Recipient::parse(to.trim()) {
        Some(Recipient::Number(number)) => Ok(addresses(number.as_str()).to_vec()),
        Some(Recipient::Email(address)) => Ok(vec![address.as_str().to_owned()]),
        None => Err(("to", wrong.to_owned())),
    }
}

/// When a person said it. Nothing could take back what was said in the future.
fn said_at(text: &str, now: Timestamp) -> Result<Timestamp, Wrong> {
    let wrong = |problem: &str| ("at", problem.to_owned());
    match Timestamp::parse_rfc3339(text.trim()) {
        None if text.trim().is_empty() => Err(wrong("it is missing: say when the person agreed")),
        None => Err(wrong("it is not a time such as 2026-11-24T08:00:00Z")),
        Some(at) if at > now => Err(wrong("it is in the future: say when the person agreed")),
        Some(at) => Ok(at),
    }
}

/// A text that must be there.
fn said<'a>(
    field: &'static str,
    text: &'a str,
    missing: &str,
    most: usize,
) -> Result<&'a str, Wrong> {
    match text.trim() {
        "" => Err((field, format!("it is missing: say {missing}"))),
        text if text.len() > most => Err((field, format!("it has more than {most} bytes"))),
        text if text.contains('\0') => Err((field, "it has a NUL character".to_owned())),
        text => Ok(text),
    }
}

fn source(text: &str) -> Result<&str, Wrong> {
    said("source", text, "where the person agreed", LONGEST_SOURCE)
}

/// A consent that was given. What is missing is named like what is wrong.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenAsk {
    to: String,
    #[serde(default)]
    at: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    text: String,
}

impl GivenAsk {
    fn entries(&self, hashes: &Hashes, now: Timestamp) -> Result<Vec<NewConsent>, Wrong> {
        let addresses = reached(&self.to)?;
        let (at, source) = (said_at(&self.at, now)?, source(&self.source)?);
        let text = said("text", &self.text, "to which text the person agreed", LONGEST_TEXT)?;
        let agreement = Agreement::Given(text.to_owned());
        Ok(entries(hashes, addresses, &agreement, source, Some(at)))
    }
}

fn entries(
    hashes: &Hashes,
    addresses: Vec<String>,
    agreement: &Agreement,
    source: &str,
    at: Option<Timestamp>,
) -> Vec<NewConsent> {
    let entry = |to: String| NewConsent {
        to_hash: hashes.address(&to),
        to,
        agreement: agreement.clone(),
        source: source.to_owned(),
        at,
    };
    addresses.into_iter().map(entry).collect()
}

fn problem((field, problem): Wrong) -> Problem {
    wrong(field, problem)
}

/// It is done.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    /// Whether there is consent now.
    consented: bool,
}

async fn enter(api: &Api, token: &str, new: &[NewConsent]) -> Result<Json<Done>, Problem> {
    api.outbox.add_consents(new).await.map_err(unavailable)?;
    let hash = new.first().map(|entry| entry.to_hash.clone());
    let hash = hash.expect("a recipient has an address");
    let holding = api.outbox.consenting(&[hash]).await.map_err(unavailable)?;
    let consented = !holding.is_empty();
    info!(token, consented, "an entry of the consents is made by hand");
    Ok(Json(Done { consented }))
}

/// `POST /api/consents`
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    asked: Result<Json<GivenAsk>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    let Json(asked) = asked?;
    let new = asked.entries(api.hashes().await?, api.clock.now()).map_err(problem)?;
    enter(&api, &token, &new).await
}

/// What is withdrawn.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithdrawAsk {
    to: String,
    at: Option<String>,
    source: Option<String>,
}

/// `POST /api/consents/withdraw`: what is in writing already may still arrive.
pub(super) async fn withdraw(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    asked: Result<Json<WithdrawAsk>, JsonRejection>,
) -> Result<Json<Done>, Problem> {
    let Json(asked) = asked?;
    let (hashes, now) = (api.hashes().await?, api.clock.now());
    let addresses = reached(&asked.to).map_err(problem)?;
    let at = asked.at.as_deref().map(|at| said_at(at, now)).transpose().map_err(problem)?;
    let source = source(asked.source.as_deref().unwrap_or("hand")).map_err(problem)?;
    let new = entries(hashes, addresses, &Agreement::Withdrawn, source, at);
    enter(&api, &token, &new).await
}

/// The body of an import.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportAsk {
    entries: Vec<GivenAsk>,
}

/// An entry of an import that is refused.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    /// Its place in the request, from 0.
    entry: usize,
    reason: String,
}

/// What came of an import.
#[derive(Debug, Serialize)]
pub(super) struct Imported {
    /// Entries of addresses that are new: two of each number, and one of each email.
    added: u64,
    /// Entries that were there before.
    known: u64,
    refused: Vec<Refused>,
}

/// `POST /api/consents/import`: what is wrong is refused, and the rest is added.
pub(super) async fn import(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    asked: Result<Json<ImportAsk>, JsonRejection>,
) -> Result<Json<Imported>, Problem> {
    let Json(asked) = asked?;
    if asked.entries.len() > MOST_IMPORTED {
        let problem = format!("there are more than {MOST_IMPORTED}: send them in several requests");
        return Err(wrong("entries", problem));
    }
    let (hashes, now) = (api.hashes().await?, api.clock.now());
    let (mut new, mut refused) = (Vec::new(), Vec::new());
    for (entry, asked) in asked.entries.iter().enumerate() {
        match asked.entries(hashes, now) {
            Ok(entries) => new.extend(entries),
            Err((field, problem)) => {
                refused.push(Refused { entry, reason: format!("`{field}`: {problem}") });
            }
        }
    }
    let added = api.outbox.add_consents(&new).await.map_err(unavailable)?;
    let known = new.len() as u64 - added;
    info!(token, added, known, refused = refused.len(), "consents are imported");
    Ok(Json(Imported { added, known, refused }))
}

/// The query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    to: String,
}

/// An entry.
#[derive(Debug, Serialize)]
pub(super) struct EntryView {
    given: bool,
    source: String,
    /// Null of what is withdrawn.
    text: Option<String>,
    at: Timestamp,
    stored_at: Timestamp,
}

impl EntryView {
    fn of(entry: ConsentEntry) -> Self {
        let text = match entry.agreement {
            Agreement::Given(text) => Some(text),
            Agreement::Withdrawn => None,
        };
        let (at, stored_at) = (entry.at, entry.stored_at);
        Self { given: text.is_some(), source: entry.source, text, at, stored_at }
    }
}

/// What is known of a recipient.
#[derive(Debug, Serialize)]
pub(super) struct ConsentsView {
    consented: bool,
    /// The latest first.
    entries: Vec<EntryView>,
}

/// `GET /api/consents?to=…`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ConsentsView>, Problem> {
    let Query(query) = query?;
    let address = reached(&query.to).map_err(problem)?.swap_remove(0);
    let hash = api.hashes().await?.address(&address);
    let entries = api.outbox.consents(&hash).await.map_err(unavailable)?;
    let holding = api.outbox.consenting(&[hash]).await.map_err(unavailable)?;
    let entries = entries.into_iter().map(EntryView::of).collect();
    Ok(Json(ConsentsView { consented: !holding.is_empty(), entries }))
}

/// Why marketing is refused, unless its recipient has agreed to it, at each address of its steps.
pub(super) async fn missing(api: &Api, new: &NewNotification) -> Result<Option<Problem>, Problem> {
    if new.purpose != Purpose::Marketing {
        return Ok(None);
    }
    let steps = new.route.iter().flat_map(|route| &route.steps).map(|step| &step.to_hash);
    let hashes: Vec<String> = std::iter::once(&new.to_hash).chain(steps).cloned().collect();
    let holding = api.outbox.consenting(&hashes).await.map_err(unavailable)?;
    let Some(missing) = hashes.iter().find(|hash| !holding.contains(*hash)) else {
        return Ok(None);
    };
    let email = new.mail.as_ref().and_then(|mail| mail.to.as_deref());
    let hashes = api.hashes().await?;
    let is_email = email.is_some_and(|email| hashes.address(email) == *missing);
    let gate = Gate::Consent.as_str();
    Ok(Some(wrong(
        if is_email { "email" } else { "to" },
        format!(
            "the gate `{gate}` refuses it: the recipient has not agreed to marketing, or has withdrawn it"
        ),
    )))
}
