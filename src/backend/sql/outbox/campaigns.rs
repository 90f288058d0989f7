//! Campaigns, in a transaction of either database. [`plan`] keeps what a list says; [`run`] starts, pauses, resumes and
//! cancels; [`hand_over`] makes notifications of recipients shortly before their turn; [`keep`] stops what must be stopped
//! and finishes what is over; [`look`] is for who asks how it goes; [`forget`] deletes.
//!
//! The row of a campaign is locked before notifications and attempts: by what changes where it stands, by what hands over,
//! and by commits to writing, so that after a pause none of its attempts enters writing.

pub(in crate::backend) mod forget;
pub(in crate::backend) mod frozen;
pub(in crate::backend) mod hand_over;
pub(in crate::backend) mod keep;
pub(in crate::backend) mod look;
pub(in crate::backend) mod plan;
pub(in crate::backend) mod run;

use std::collections::BTreeMap;

use crate::backend::outbox::CampaignState;
use crate::backend::sql::session::{Cells, Session, Statement, params};
use crate::crash_points::{self, Sabotage};
use crate::dispatch::gates::Pause;
use crate::labels::Label as _;

/// Locks a campaign, and returns where it stands; `None` if it does not exist.
async fn lock<S: Session>(session: &mut S, id: &str) -> Result<Option<CampaignState>, sqlx::Error> {
    let sql = format!("SELECT state FROM campaigns WHERE id = $1{}", S::FOR_UPDATE);
    let row = session.row(&sql, params![id]).await?;
    row.map(|row| row.parsed("state", CampaignState::parse)).transpose()
}

/// What a commit to writing must know of the campaigns of its attempts.
pub(super) struct Locked {
    state: CampaignState,
    cost_cap: Option<u64>,
    spent: u64,
    /// What is spent now.
    more: u64,
}

impl Locked {
    /// Whether its attempts may be sent. One that is cancelled refuses them.
    pub(super) const fn pause(&self) -> Pause {
        match self.state {
            CampaignState::Running => Pause::None,
            _ => Pause::Indefinite,
        }
    }

    /// Whether it was cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.state == CampaignState::Cancelled
    }

    /// Whether an attempt of this price would go above the cap.
    pub(super) fn is_over(&self, price: u64) -> bool {
        self.cost_cap.is_some_and(|cap| self.spent + self.more + price > cap)
    }

    /// An attempt of this price is sent.
    pub(super) fn spend(&mut self, price: u64) {
        self.more += price;
    }
}

/// Locks the campaigns of attempts, by id, before anything else is locked.
pub(super) fn locking<S: Session>(attempts: &[String]) -> Statement {
    let sql = format!(
        "SELECT id, state, cost_cap, spent FROM campaigns WHERE id IN (SELECT campaign FROM attempts WHERE {} \
         AND campaign IS NOT NULL) ORDER BY id{}",
        S::among("id", 1),
        S::FOR_UPDATE
    );
    Statement::new(sql, params![attempts.to_vec()])
}

/// What that has returned, by id.
pub(super) fn locked(rows: &[Cells]) -> Result<BTreeMap<String, Locked>, sqlx::Error> {
    let locked = |row: &Cells| {
        let locked = Locked {
            state: match crash_points::is_sabotaged(Sabotage::PauseIgnored) {
                true => CampaignState::Running,
                false => row.parsed("state", CampaignState::parse)?,
            },
            cost_cap: money(row, "cost_cap")?,
            spent: row.count("spent")?,
            more: 0,
        };
        Ok((row.text("id")?, locked))
    };
    rows.iter().map(locked).collect()
}

/// Adds what was spent.
pub(super) fn spending(campaigns: &BTreeMap<String, Locked>) -> impl Iterator<Item = Statement> {
    campaigns.iter().filter(|(_, campaign)| campaign.more > 0).map(|(id, campaign)| {
        let sql = "UPDATE campaigns SET spent = spent + $2 WHERE id = $1";
        let more = i64::try_from(campaign.more).unwrap_or(i64::MAX);
        Statement::new(sql, params![id.as_str(), more])
    })
}

/// A price, or NULL.
pub(super) fn money(row: &Cells, column: &str) -> Result<Option<u64>, sqlx::Error> {
    row.number_or_null(column).map(|found| found.and_then(|price| u64::try_from(price).ok()))
}

/// Holds what of a campaign is due or claimed, until it is resumed or its deadline passes, and returns how many of its
/// attempts are in writing. The campaign is locked.
async fn hold<S: Session>(session: &mut S, id: &str) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "UPDATE attempts SET state = 'due', held = 'campaign', due_at = deadline, holder = NULL, lease_until = NULL, \
         send_at = NULL WHERE id IN (SELECT id FROM attempts WHERE campaign = $1 AND settled_at IS NULL \
         AND state IN ('due', 'claimed') ORDER BY id{})",
        S::FOR_UPDATE
    );
    if !crash_points::is_sabotaged(Sabotage::PauseIgnored) {
        session.execute(&sql, params![id]).await?;
    }
    in_writing(session, id).await
}

async fn in_writing<S: Session>(session: &mut S, id: &str) -> Result<u64, sqlx::Error> {
    let sql = "SELECT count(*) AS writing FROM attempts WHERE campaign = $1 AND settled_at IS NULL AND state = 'writing'";
    session.row(sql, params![id]).await?.map_or(Ok(0), |row| row.count("writing"))
}
