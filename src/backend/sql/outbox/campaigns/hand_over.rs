//! Recipients become notifications, shortly before their turn: as many as their pace sends soon, so that neither a pause nor
//! an urgent notification meets all of a campaign. The gates are asked here, and again in the commit to writing.

use std::collections::BTreeSet;

use super::keep::outcomes;
use super::{frozen, lock};
use crate::backend::outbox::{
    Asked, CampaignState, CampaignStep, Gated, HandOverAsk, HandedOver, Known, MailPart,
    NewNotification, NewRoute, NewStep, StepCost,
};
use crate::backend::sql::outbox::limits::{self, reading_days, reading_recent};
use crate::backend::sql::outbox::state::{as_held, reading_held};
use crate::backend::sql::outbox::{ask, consents, purpose, suppressions};
use crate::backend::sql::session::{Cells, Session, malformed, params};
use crate::clock::Timestamp;
use crate::dispatch::campaign::brake::{self, AT_LEAST, TRIAL, TRIAL_LASTS};
use crate::dispatch::gates::{Gate, Pause};
use crate::dispatch::{Channel, OnUnknown, Purpose};
use crate::event::AttemptId;
use crate::labels::Label as _;

/// Hands over recipients of a campaign that runs, each unless a gate holds or refuses it.
pub(in crate::backend) async fn hand_over<S: Session>(
    session: &mut S,
    asked: &HandOverAsk,
    gates: &(impl Fn(&Known, Timestamp) -> Gated + Sync),
) -> Result<HandedOver, sqlx::Error> {
    let id = asked.campaign.as_str();
    if lock(session, id).await? != Some(CampaignState::Running) {
        return Ok(HandedOver::default());
    }
    // Nothing is planned where nothing is sent: the outbox may have been copied, and its recipients with it.
    let [held] = session.rows_of_each([reading_held::<S>()]).await?;
    if as_held(&held)?.is_some() {
        return Ok(HandedOver::default());
    }
    let now = session.now().await?;
    let campaign = Campaign::read(session, id).await?;
    let room = room(session, id, &campaign, asked, now).await?;
    if room == 0 {
        return Ok(HandedOver::default());
    }
    let rows = waiting(session, id, room, now).await?;
    let recipients: Vec<Recipient> =
        rows.iter().map(|row| Recipient::read(&campaign, row)).collect::<Result<_, _>>()?;
    let hashes: Vec<String> = recipients.iter().map(|it| it.first_hash().to_owned()).collect();
    let reads =
        [suppressions::reading::<S>(hashes.clone()), reading_recent::<S>(hashes), reading_days()];
    let [suppressed, recent, days] = session.rows_of_each(reads).await?;
    let suppressed = suppressions::latest(&suppressed)?;
    let consenting = match campaign.purpose {
        Purpose::Marketing => consents::holding(session, consents::asked_of(&rows)?).await?,
        Purpose::Alert | Purpose::Otp | Purpose::Transactional => BTreeSet::new(),
    };
    let (mut recent, today) = (limits::recent(&recent)?, limits::today(&days, now)?);
    let mut came = HandedOver { again: rows.len() as u64 == room, ..HandedOver::default() };
    let mut handed = Vec::new();
    for (row, recipient) in rows.iter().zip(&recipients) {
        let recent = recent.remove(recipient.first_hash()).unwrap_or_default();
        let consented = consents::has_agreed(&consenting, row)?;
        let is_of_before = is_of_before(row)?;
        let known = |to: &str| Known {
            sender: campaign.first().sender.clone(),
            to: to.to_owned(),
            purpose: campaign.purpose,
            time_zone: recipient.time_zone.clone(),
            deadline: campaign.deadline,
            suppressed: suppressed.contains_key(recipient.first_hash()) || is_of_before,
            consented,
            recent: recent.all.clone(),
            calls: None,
            today,
            campaign_pause: Pause::None,
            is_over_cap: false,
            sender_pause: Pause::None,
            account_pause: Pause::None,
            deployment_pause: Pause::None,
        };
        let mut gated = gates(&known(recipient.first_address()), now);
        if let (Gated::Pass | Gated::Hold { .. }, Some(other)) = (&gated, recipient.other_address())
        {
            let other = Known { suppressed: false, ..known(other) };
            if let refused @ (Gated::Refuse { .. } | Gated::Expire) = gates(&other, now) {
                gated = refused;
            }
        }
        match gated {
            Gated::Pass => {
                let new = recipient.notification(&campaign, id);
                if ask::ask(session, &new).await? == Asked::Kept {
                    handed.push((recipient.number, new.id));
                }
            }
            Gated::Hold { gate, until } => {
                *came.held.entry(gate).or_default() += 1;
                hold(session, id, recipient.number, gate, until).await?;
            }
            Gated::Refuse { gate } => {
                *came.refused.entry(gate).or_default() += 1;
                end(session, id, recipient.number, "refused", gate).await?;
            }
            Gated::Expire => {
                let gate = Gate::Deadline.as_str();
                *came.refused.entry(gate).or_default() += 1;
                end(session, id, recipient.number, "expired", gate).await?;
            }
        }
    }
    came.handed_over = handed.len() as u64;
    handed_over(session, id, &campaign, handed).await?;
    Ok(came)
}

/// What every recipient of a campaign has in common.
struct Campaign {
    token: String,
    purpose: Purpose,
    on_unknown: OnUnknown,
    route: Option<String>,
    steps: Vec<CampaignStep>,
    deadline: Timestamp,
    handed_over: u64,
    trial_until: Option<Timestamp>,
    trial_over: bool,
}

impl Campaign {
    async fn read<S: Session>(session: &mut S, id: &str) -> Result<Self, sqlx::Error> {
        let times = ["deadline", "trial_until"].map(S::time).join(", ");
        let sql = format!(
            "SELECT token, purpose, on_unknown, route, plan, handed_over, trial_over, {times} FROM campaigns WHERE id = $1"
        );
        let row = session.row(&sql, params![id]).await?.ok_or(sqlx::Error::RowNotFound)?;
        Ok(Self {
            token: row.text("token")?,
            purpose: purpose(&row, "purpose")?,
            on_unknown: row.parsed("on_unknown", OnUnknown::parse)?,
            route: row.optional("route")?,
            steps: frozen::read_steps(&row.text("plan")?)?,
            deadline: row.time("deadline")?.ok_or_else(|| malformed("deadline"))?,
            handed_over: row.count("handed_over")?,
            trial_until: row.time("trial_until")?,
            trial_over: row.number("trial_over")? != 0,
        })
    }

    fn first(&self) -> &CampaignStep {
        self.steps.first().expect("a plan that was read has a step")
    }
}

/// How many recipients may be handed over now. A campaign has a trial: its first recipients go out, and the others wait until
/// enough of these have an outcome.
async fn room<S: Session>(
    session: &mut S,
    id: &str,
    campaign: &Campaign,
    asked: &HandOverAsk,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let mut room = u64::from(asked.limit);
    if !campaign.trial_over {
        let left = u64::from(TRIAL).saturating_sub(campaign.handed_over);
        if left == 0 && !ends_trial(session, id, campaign, now).await? {
            return Ok(0);
        }
        if left > 0 {
            room = room.min(left);
        }
    }
    // What a gate holds is not about to be sent, and the next steps of a route have paces of their own.
    let sql = format!(
        "SELECT count(*) AS soon FROM attempts WHERE campaign = $1 AND settled_at IS NULL \
         AND state IN ('due', 'claimed') AND step = 1 AND (held IS NULL OR due_at <= $2{})",
        S::TIME
    );
    let soon = session.row(&sql, params![id, now]).await?.map_or(Ok(0), |row| row.count("soon"))?;
    Ok(room.min(asked.window.saturating_sub(soon)))
}

async fn ends_trial<S: Session>(
    session: &mut S,
    id: &str,
    campaign: &Campaign,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    if campaign.trial_until.is_some_and(|until| now < until) || is_sending(session, id, now).await?
    {
        let sql = format!(
            "SELECT count(*) AS settled FROM (SELECT 1 FROM notifications WHERE campaign = $1 AND settled_at IS NOT NULL \
             LIMIT {AT_LEAST}) AS outcomes"
        );
        let settled = session.row(&sql, params![id]).await?;
        if settled.map_or(Ok(0), |row| row.count("settled"))? < u64::from(AT_LEAST) {
            return Ok(false);
        }
    }
    // What stops it is not handed over to first.
    if brake::judge(&outcomes(session, id).await?).is_some() {
        return Ok(false);
    }
    let sql = format!("UPDATE campaigns SET trial_over = {} WHERE id = $1", S::TRUE);
    session.execute(&sql, params![id]).await?;
    Ok(true)
}

/// Whether some of the trial is still to be sent, because its sender was paused or is slow, or was sent only just now.
async fn is_sending<S: Session>(
    session: &mut S,
    id: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let time = S::TIME;
    let sql = format!(
        "SELECT a.id FROM notifications AS n JOIN attempts AS a ON a.notification = n.id WHERE n.campaign = $1 \
         AND a.step = 1 AND (a.written_at > $2{time} OR a.state IN ('due', 'claimed') \
         AND (a.held IS NULL OR a.due_at <= $3{time})) LIMIT 1"
    );
    let params = params![id, now.before(TRIAL_LASTS), now];
    Ok(session.row(&sql, params).await?.is_some())
}

/// Locked, so that a purge of one of them comes before or after, and not between.
async fn waiting<S: Session>(
    session: &mut S,
    id: &str,
    room: u64,
    now: Timestamp,
) -> Result<Vec<Cells>, sqlx::Error> {
    let sql = format!(
        "SELECT number, key, \"to\", to_hash, email, email_hash, time_zone, body, subject, html, costs FROM recipients \
         WHERE campaign = $1 AND state = 'waiting' AND due_at <= $2{} ORDER BY due_at, number LIMIT {room}{}",
        S::TIME,
        S::SKIP_LOCKED
    );
    session.rows(&sql, params![id, now]).await
}

/// Whether only the hash of its email address was kept, as it was before where an email comes first. Who must not be called
/// or texted cannot be told of it.
pub(super) fn is_of_before(row: &Cells) -> Result<bool, sqlx::Error> {
    Ok(row.optional("email_hash")? == Some(row.text("to_hash")?))
}

/// A recipient, read once.
struct Recipient {
    number: i64,
    key: Option<String>,
    to: String,
    to_hash: String,
    email: Option<String>,
    email_hash: Option<String>,
    time_zone: Option<String>,
    body: String,
    subject: Option<String>,
    html: Option<String>,
    costs: Vec<StepCost>,
    /// Whether the first step sends it an email.
    first: Channel,
}

impl Recipient {
    fn read(campaign: &Campaign, row: &Cells) -> Result<Self, sqlx::Error> {
        let costs = frozen::read_costs(&row.text("costs")?)?;
        if costs.len() != campaign.steps.len() {
            return Err(malformed("costs"));
        }
        Ok(Self {
            number: row.number("number")?,
            key: row.optional("key")?,
            to: row.text("to")?,
            to_hash: row.text("to_hash")?,
            email: row.optional("email")?,
            email_hash: row.optional("email_hash")?,
            time_zone: row.optional("time_zone")?,
            body: row.text("body")?,
            subject: row.optional("subject")?,
            html: row.optional("html")?,
            costs,
            first: campaign.first().channel,
        })
    }

    fn is_mailed_first(&self) -> bool {
        self.first == Channel::Email
    }

    /// The address that the first step reaches.
    fn first_address(&self) -> &str {
        self.email.as_deref().filter(|_| self.is_mailed_first()).unwrap_or(&self.to)
    }

    /// Its hash.
    fn first_hash(&self) -> &str {
        self.email_hash.as_deref().filter(|_| self.is_mailed_first()).unwrap_or(&self.to_hash)
    }

    /// The one that only later steps reach.
    fn other_address(&self) -> Option<&str> {
        let email = self.email.as_deref()?;
        Some(if self.is_mailed_first() { &self.to } else { email })
    }

    fn notification(&self, campaign: &Campaign, id: &str) -> NewNotification {
        let first = campaign.first();
        let mails = campaign.steps.iter().any(|step| step.channel == Channel::Email);
        let mail = MailPart {
            to: self.email.clone(),
            subject: self.subject.clone().unwrap_or_default(),
            html: self.html.clone(),
        };
        NewNotification {
            id: format!("ntf_{:032x}", rand::random::<u128>()),
            token: campaign.token.clone(),
            idempotency_key: None,
            request_hash: format!("{id}/{}", self.number),
            purpose: campaign.purpose,
            on_unknown: campaign.on_unknown,
            route: campaign.route.clone().map(|name| self.route(campaign, name)),
            sender: first.sender.clone(),
            account: first.account.clone(),
            pace: first.pace.clone(),
            to: match campaign.route {
                Some(_) => self.to.clone(),
                None => format!("{}{}", first.prefix, self.to),
            },
            to_hash: self.first_hash().to_owned(),
            body: self.body.clone(),
            mail: mails.then_some(mail),
            segments: self.costs[0].units,
            channel: first.channel,
            call: first.call.clone(),
            reference: self.key.clone(),
            deadline: campaign.deadline,
            time_zone: self.time_zone.clone(),
            held: None,
            attempt: AttemptId::new(rand::random()),
            campaign: Some(id.to_owned()),
            price: self.costs[0].price,
        }
    }

    fn route(&self, campaign: &Campaign, name: String) -> NewRoute {
        let step = |(step, cost): (&CampaignStep, &StepCost)| {
            let email = self.email_hash.as_ref().filter(|_| step.channel == Channel::Email);
            NewStep {
                sender: step.sender.clone(),
                account: step.account.clone(),
                pace: step.pace.clone(),
                to_hash: email.unwrap_or(&self.to_hash).clone(),
                units: cost.units,
                channel: step.channel,
                call: step.call.clone(),
                wait: step.wait,
                // Only alerts are sent after a STOP, and no campaign is one.
                despite_stop: false,
                price: cost.price,
            }
        };
        NewRoute { name, steps: campaign.steps.iter().zip(&self.costs).map(step).collect() }
    }
}

async fn hold<S: Session>(
    session: &mut S,
    id: &str,
    number: i64,
    gate: &str,
    until: Timestamp,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE recipients SET held = $3, due_at = $4{} WHERE campaign = $1 AND number = $2",
        S::TIME
    );
    session.execute(&sql, params![id, number, gate, until]).await.map(|_| ())
}

/// A gate said never: what was to be sent is not kept.
async fn end<S: Session>(
    session: &mut S,
    id: &str,
    number: i64,
    state: &str,
    gate: &str,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE recipients SET state = $3, reason = $4, held = NULL, body = NULL, subject = NULL, html = NULL, \
         settled_at = {} WHERE campaign = $1 AND number = $2",
        S::NOW
    );
    session.execute(&sql, params![id, number, state, gate]).await.map(|_| ())
}

/// What is sent is with the notifications from now on, and not kept twice.
async fn handed_over<S: Session>(
    session: &mut S,
    id: &str,
    campaign: &Campaign,
    handed: Vec<(i64, String)>,
) -> Result<(), sqlx::Error> {
    if handed.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(handed.len()).unwrap_or(i64::MAX);
    let (numbers, notifications): (Vec<String>, Vec<String>) =
        handed.into_iter().map(|(number, notification)| (number.to_string(), notification)).unzip();
    let sql = format!(
        "UPDATE recipients SET state = 'handed_over', notification = pairs.b, held = NULL, \"to\" = NULL, email = NULL, \
         time_zone = NULL, body = NULL, subject = NULL, html = NULL FROM {} WHERE recipients.campaign = $3 \
         AND recipients.number = CAST(pairs.a AS bigint)",
        S::pairs(1, 2)
    );
    session.execute(&sql, params![numbers, notifications, id]).await?;
    let is_trial = campaign.handed_over + count.unsigned_abs() >= u64::from(TRIAL);
    let until = (is_trial && campaign.trial_until.is_none()).then(|| S::later(S::NOW, TRIAL_LASTS));
    let until = until.map(|until| format!(", trial_until = {until}")).unwrap_or_default();
    let sql = format!("UPDATE campaigns SET handed_over = handed_over + $2{until} WHERE id = $1");
    session.execute(&sql, params![id, count]).await.map(|_| ())
}
