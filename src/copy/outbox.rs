//! The outbox of the source. It is held on both sides before the first row is copied, so that no notification is sent
//! from two stores: a person lets the target go on. Its rows come before events, whose wakes name attempts.
//!
//! Each run goes through all of it again, because what is asked for makes no change by which a source that has run since
//! could be recognized. A row that the target has stays as it is: callbacks move both by the same law. What waits there, and
//! was sent or cancelled here since, takes that over.

use super::check::Check;
use super::pages::{patiently, put};
use super::{CopyError, Report, Run};
use crate::backend::copy::{Copied, OutboxRow, OutboxTable};

impl<W> Run<W> {
    /// Copies all of it.
    pub(super) async fn outbox(&mut self, report: &mut Report) -> Result<(), CopyError> {
        let keys = self.source.rows.outbox().await.map_err(CopyError::Read)?;
        let Some(keys) = keys else { return Ok(()) };
        if !patiently(async || self.target.take_outbox(&keys).await).await? {
            return Err(CopyError::OtherKeys);
        }
        self.source.rows.hold_outbox().await.map_err(CopyError::Hold)?;
        report.is_held = true;
        for table in OutboxTable::ALL {
            let mut after = 0;
            loop {
                let page = self.source.rows.outbox_rows(table, after).await;
                let page = page.map_err(CopyError::Read)?;
                let Some(last) = page.last() else { break };
                after = last.place;
                let target = &self.target;
                let commit = async |rows: &[OutboxRow]| {
                    target.put_outbox(table, rows).await.map(|()| Copied::default())
                };
                let name = |row: &OutboxRow| format!("{} {}", table.as_str(), row.name());
                put(&page, commit, name, &mut report.refused).await?;
            }
        }
        Ok(())
    }

    /// Looks whether the target has each row.
    pub(super) async fn check_outbox(
        &mut self,
        check: &Check,
        report: &mut Report,
    ) -> Result<(), CopyError> {
        if self.source.rows.outbox().await.map_err(CopyError::Read)?.is_none() {
            return Ok(());
        }
        for table in OutboxTable::ALL.into_iter().filter(|table| table.is_compared()) {
            let mut after = 0;
            loop {
                let page = self.source.rows.outbox_rows(table, after).await;
                let page = page.map_err(CopyError::Read)?;
                let Some(last) = page.last() else { break };
                after = last.place;
                let missing = self.target.missing_of_outbox(table, &page).await;
                check.outbox(&page, &missing.map_err(CopyError::Check)?, &mut report.outbox);
            }
        }
        Ok(())
    }
}
