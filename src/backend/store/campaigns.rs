//! Campaigns of the [`Outbox`].

use std::collections::BTreeMap;

use super::{Outbox, on_store};
use crate::backend::BackendError;
use crate::backend::outbox::{
    Campaign, CampaignOutcome, CampaignSearch, CampaignState, Gated, HandOverAsk, HandedOver,
    InvalidRow, Kept, Known, NewCampaign, NewRecipient, OpenCampaign, PlannedRecipient, Progress,
    RecipientResult, Started,
};
use crate::backend::sql::outbox::campaigns::{hand_over, keep, look, plan, run};
use crate::clock::Timestamp;

impl Outbox {
    /// Keeps a campaign whose list is about to be read.
    pub async fn create_campaign(&self, new: &NewCampaign) -> Result<(), BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| plan::create(on, new).await))
    }

    /// Adds at most [`RECIPIENTS_AT_ONCE`](crate::backend::outbox::RECIPIENTS_AT_ONCE) recipients to a campaign whose list is being read, and returns how many were new
    /// to it; `None` if it is not being read any more.
    pub async fn add_recipients(
        &self,
        id: &str,
        recipients: &[NewRecipient],
    ) -> Result<Option<u64>, BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| plan::add(on, id, recipients).await))
    }

    /// Keeps why rows of a list cannot be sent to.
    pub async fn reject_rows(&self, id: &str, rows: &[InvalidRow]) -> Result<(), BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| plan::reject(on, id, rows).await))
    }

    /// The list is read, and the campaign is a draft; returns whether it was being read until now.
    pub async fn planned(
        &self,
        id: &str,
        doubles: u64,
        invalid: u64,
    ) -> Result<bool, BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| plan::planned(on, id, doubles, invalid).await))
    }

    /// Forgets a campaign whose list is being read.
    pub async fn discard_campaign(&self, id: &str) -> Result<(), BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| plan::discard(on, id).await))
    }

    /// Forgets a campaign whose list was not read to its end, and returns whether there was one.
    pub async fn give_up_campaign(&self) -> Result<bool, BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| plan::give_up(on).await))
    }

    /// A campaign.
    pub async fn campaign(&self, id: &str) -> Result<Option<Campaign>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| look::find(on, id).await))
    }

    /// A page of campaigns, from the newest back.
    pub async fn campaigns(&self, search: &CampaignSearch) -> Result<Vec<Campaign>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| look::list(on, search).await))
    }

    /// How many campaigns are in each state.
    pub async fn campaigns_by_state(&self) -> Result<BTreeMap<CampaignState, u64>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| look::by_state(on).await))
    }

    /// How far a campaign is.
    pub async fn progress(&self, id: &str) -> Result<Progress, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| look::progress(on, id).await))
    }

    /// How many notifications of a campaign had their outcome in each of the last 60 minutes, the oldest first.
    pub async fn settled_by_minute(&self, id: &str) -> Result<Vec<u64>, BackendError> {
        on_store!(self, outbox => outbox
            .read(async |on| look::settled_by_minute(on, id).await))
    }

    /// A page of the recipients of a campaign, behind a line of its list, as gates ask for them.
    pub async fn planned_page(
        &self,
        id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<PlannedRecipient>, BackendError> {
        on_store!(self, outbox => outbox
            .read(async |on| look::planned(on, id, after, limit).await))
    }

    /// How many numbers of a campaign follow another one of it by one.
    pub async fn sequential(&self, id: &str) -> Result<u64, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| look::sequential(on, id).await))
    }

    /// A page of the rows that cannot be sent to, behind a line of the list.
    pub async fn invalid_rows(
        &self,
        id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<InvalidRow>, BackendError> {
        on_store!(self, outbox => outbox
            .read(async |on| look::invalid(on, id, after, limit).await))
    }

    /// A page of what became of recipients, behind a line of the list.
    pub async fn results(
        &self,
        id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<RecipientResult>, BackendError> {
        on_store!(self, outbox => outbox
            .read(async |on| look::results(on, id, after, limit).await))
    }

    /// Starts a draft that has this many recipients; `deadline`: when nothing is sent any more, unless it was asked for.
    /// `None` if there is no such campaign.
    pub async fn start_campaign(
        &self,
        id: &str,
        recipients: u64,
        deadline: Timestamp,
    ) -> Result<Option<Started>, BackendError> {
        on_store!(self, outbox => outbox
            .transact_now(async |on| run::start(on, id, recipients, deadline).await))
    }

    /// Pauses a campaign that runs; `None` if there is no such campaign.
    pub async fn pause_campaign(&self, id: &str) -> Result<Option<CampaignOutcome>, BackendError> {
        on_store!(self, outbox => outbox.transact_now(async |on| run::pause(on, id).await))
    }

    /// Lets a campaign go on that is paused, or has stopped itself; `None` if there is no such campaign.
    pub async fn resume_campaign(&self, id: &str) -> Result<Option<CampaignOutcome>, BackendError> {
        on_store!(self, outbox => outbox.transact_now(async |on| run::resume(on, id).await))
    }

    /// Cancels a campaign that is not over; `None` if there is no such campaign.
    pub async fn cancel_campaign(&self, id: &str) -> Result<Option<CampaignOutcome>, BackendError> {
        on_store!(self, outbox => outbox.transact_now(async |on| run::cancel(on, id).await))
    }

    /// A page of the campaigns on which something is to be done, behind this id; none at the end.
    pub async fn open_campaigns(&self, after: &str) -> Result<Vec<OpenCampaign>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| keep::open(on, after).await))
    }

    /// Hands over recipients of a campaign that runs, each unless a gate holds or refuses it.
    pub async fn hand_over(
        &self,
        asked: &HandOverAsk,
        gates: &(impl Fn(&Known, Timestamp) -> Gated + Sync),
    ) -> Result<HandedOver, BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| hand_over::hand_over(on, asked, gates).await))
    }

    /// Stops a campaign that must be stopped, and finishes one that is over.
    pub async fn keep_campaign(&self, id: &str) -> Result<Kept, BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| keep::keep(on, id).await))
    }

    /// Cancels a page of the notifications of a cancelled campaign, and returns whether there may be more.
    pub async fn sweep_campaign(&self, id: &str) -> Result<bool, BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| keep::sweep(on, id).await))
    }
}
