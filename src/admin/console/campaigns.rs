//! Campaigns: a list, and the page of each: how far it is, what holds or refuses its recipients, and why it has stopped.

mod deeds;
mod figures;

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

pub(super) use self::deeds::{act, confirm};
use self::figures::Standing;
use super::layout::{self, NavPage};
use super::{format, notifications};
use crate::admin::Admin;
use crate::admin::api::{Problem, one_of};
use crate::admin::auth::Visitor;
use crate::backend::outbox::{Campaign, CampaignSearch, CampaignState, place_text};
use crate::labels::Label as _;

/// Campaigns of a page.
const PER_PAGE: u32 = 50;

/// The query of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ask {
    state: String,
    after: String,
}

/// `GET /campaigns?state=…&after=…`
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    query: Result<Query<Ask>, QueryRejection>,
) -> Response {
    let Query(ask) = match query {
        Ok(query) => query,
        Err(rejection) => return layout::failure(&admin, &visitor, &rejection.into()),
    };
    let shown = match find(&admin, &ask).await {
        Ok(found) if found.is_empty() => html! {
            p class="empty" {
                "None here. " code { "offhook campaign create" } " and " code { "POST /api/campaigns" }
                " plan one from a list of recipients."
            }
        },
        Ok(found) => html! { (results(&admin, &found)) (more(&ask, &found)) },
        Err(problem) => {
            html! { p class="error" role="alert" { "No answer: " (problem.detail) "." } }
        }
    };
    let body = html! { h1 { "Campaigns" } (form(&ask)) (shown) };
    layout::page(&admin, &visitor, NavPage::Campaigns, "Campaigns", &body)
}

async fn find(admin: &Admin, ask: &Ask) -> Result<Vec<Campaign>, Problem> {
    let states = CampaignState::ALL.map(CampaignState::as_str);
    let search = CampaignSearch {
        state: one_of("state", &ask.state, CampaignState::parse, &states)?,
        after: notifications::place(&ask.after)?,
        limit: PER_PAGE,
    };
    Ok(admin.sending.outbox.campaigns(&search).await?)
}

fn form(ask: &Ask) -> Markup {
    html! {
        form class="search" method="get" action="/campaigns" role="search" {
            div class="field" {
                label for="state" { "State" }
                select id="state" name="state" {
                    option value="" { "any" }
                    @for state in CampaignState::ALL.map(CampaignState::as_str) {
                        option value=(state) selected[ask.state == state] { (state) }
                    }
                }
            }
            button { "Show" }
        }
    }
}

fn results(admin: &Admin, found: &[Campaign]) -> Markup {
    html! {
        table class="rows found" {
            caption class="hidden" { "Campaigns, the latest first" }
            thead {
                tr {
                    th scope="col" { "Planned" }
                    th scope="col" { "State" }
                    th scope="col" { "Campaign" }
                    th scope="col" { "Name" }
                    th scope="col" { "Sender, or route" }
                    th scope="col" { "Recipients" }
                    th scope="col" { "Handed over" }
                }
            }
            tbody {
                @for one in found {
                    tr {
                        td class="at" { (format::time(one.created_at, admin.clock.now())) }
                        td class="now" {
                            (format::status(one.state.as_str()))
                            @if let Some(reason) = &one.reason {
                                " " span class="note" { (reason.replace('_', " ")) }
                            }
                        }
                        td class="which" {
                            a class="sid" href=(path(&one.id)) title=(one.id) { (format::parts(&one.id)) }
                        }
                        td class="notes" { (one.name) }
                        td class="from" { (one.route.as_ref().unwrap_or(&one.sender)) }
                        td { (format::count(one.recipients)) }
                        td { (format::count(one.handed_over)) }
                    }
                }
            }
        }
    }
}

fn more(ask: &Ask, found: &[Campaign]) -> Markup {
    let Some(last) = found.last().filter(|_| found.len() == PER_PAGE as usize) else {
        return html! {};
    };
    let after = place_text(last.created_at, &last.id);
    let mut query = form_urlencoded::Serializer::new(String::new());
    let all = [("state", &ask.state), ("after", &after)];
    query.extend_pairs(all.iter().filter(|(_, value)| !value.is_empty()));
    html! { p class="more" { a href={ "/campaigns?" (query.finish()) } rel="next" { "Older" } } }
}

/// The page of a campaign.
fn path(id: &str) -> String {
    format!("/campaigns/{}", format::in_path(id))
}

/// There is no campaign of this id.
fn missing() -> Problem {
    Problem::missing(
        "There is no such campaign. It may be deleted: [retention] deletes campaigns, too.",
    )
}

/// `GET /campaigns/{id}`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let read = async || {
        let Path(id) = id?;
        let campaign = admin.sending.outbox.campaign(&id).await?.ok_or_else(missing)?;
        let standing = Standing::read(&admin.sending.outbox, &campaign).await?;
        Ok::<_, Problem>((campaign, standing))
    };
    let (campaign, standing) = match read().await {
        Ok(read) => read,
        Err(problem) => return layout::failure(&admin, &visitor, &problem),
    };
    let body = html! {
        p class="kind" { (campaign.purpose.as_str()) " · " (campaign.name) }
        h1 class="sid" { (campaign.id) }
        p class="lead" { (sentence(&campaign, &standing)) }
        (deeds::offer(&admin, &visitor, &campaign))
        (standing.shown())
        (facts(&admin, &campaign))
        (leads(&campaign, &standing))
    };
    layout::page(&admin, &visitor, NavPage::Campaigns, &campaign.name, &body)
}

/// Fact, consequence, action.
fn sentence(campaign: &Campaign, standing: &Standing) -> Markup {
    let left = format::number_of(standing.left(), "recipient", "recipients");
    html! {
        @match campaign.state {
            CampaignState::Planning => "Its list is being read.",
            CampaignState::Draft => {
                "It is planned for " (format::number_of(campaign.recipients, "recipient", "recipients"))
                ". Nothing is sent before " code { "offhook campaign start" } "."
            }
            CampaignState::Running => { "It runs: " (left) " to go." }
            CampaignState::Paused => {
                "A person has paused it. Nothing of it is sent until it is resumed: " (left) " to go."
            }
            CampaignState::Stopped => {
                "It has stopped itself" (why(campaign)) ". Nothing of it is sent until a person resumes it: " (left)
                " to go. Find the cause first, or cancel it."
            }
            CampaignState::Cancelled => "It was cancelled. What was on its way may still have arrived.",
            CampaignState::Finished => "Each of its recipients has an outcome.",
        }
    }
}

/// Why it has stopped, with the figures.
fn why(campaign: &Campaign) -> String {
    use crate::dispatch::campaign::brake::Brake;
    let Some((why, seen)) =
        campaign.reason.as_deref().and_then(Brake::parse).zip(campaign.evidence)
    else {
        return String::new();
    };
    let what = match why {
        Brake::Failed => "failed",
        Brake::OptedOut => "were of recipients who want nothing more",
        Brake::Filtered => "were filtered by carriers",
    };
    let (of, counted) = (seen.of, seen.count(why));
    format!(": of its last {of} outcomes {counted} {what}, more than {} %", why.percent())
}

fn facts(admin: &Admin, one: &Campaign) -> Markup {
    let now = admin.clock.now();
    html! {
        dl class="facts" {
            div { dt { "Planned" } dd { (format::time(one.created_at, now)) " by " (one.token) } }
            @match &one.route {
                Some(route) => div { dt { "Route" } dd { (route) } },
                None => div { dt { "Sender" } dd { (one.sender) } },
            }
            div { dt { "Recipients" } dd { (format::count(one.recipients)) } }
            @if one.doubles > 0 { div { dt { "Doubles, folded" } dd { (format::count(one.doubles)) } } }
            @if one.invalid > 0 { div { dt { "Rows that were wrong" } dd { (format::count(one.invalid)) } } }
            @if let Some(at) = one.started_at { div { dt { "Started" } dd { (format::time(at, now)) } } }
            @if let Some(at) = one.finished_at { div { dt { "Finished" } dd { (format::time(at, now)) } } }
            @if let Some(at) = one.deadline { div { dt { "Deadline" } dd { (format::time(at, now)) } } }
            @if let Some(currency) = &one.currency {
                div { dt { "Spent" } dd { (money(one.spent)) " " (currency) } }
                @if let Some(cap) = one.cost_cap { div { dt { "At most" } dd { (money(cap)) " " (currency) } } }
            }
        }
    }
}

/// Millionths, with two places.
fn money(millionths: u64) -> String {
    let cents = millionths.saturating_add(5_000) / 10_000;
    format!("{}.{:02}", format::count(cents / 100), cents % 100)
}

/// Where its notifications are listed.
fn leads(campaign: &Campaign, standing: &Standing) -> Markup {
    let of = format!("/notifications?campaign={}", format::in_path(&campaign.id));
    html! {
        @if campaign.handed_over > 0 {
            p {
                a href=(of) { "Its notifications" }
                @if standing.unknown() > 0 {
                    ", of which "
                    a href={ (of) "&state=unknown" } {
                        (format::number_of(standing.unknown(), "is unknown", "are unknown"))
                    }
                }
                ". " code { "offhook campaign results " (campaign.id) } " prints what became of each recipient."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_rounded_to_two_places() {
        let check = |millionths, expected| assert_eq!(money(millionths), expected);
        check(0, "0.00");
        check(7_900, "0.01");
        check(1_234_567_890, "1,234.57");
        check(999_996_000, "1,000.00");
    }
}
