//! [`Outcomes`]: how calls, messages and the rest ended, and why those failed that did.

use prometheus::{IntCounter, IntCounterVec, Registry};

use crate::event::{Event, Resource};
use crate::metrics::metrics;
use crate::twilio::error;

metrics! {
    /// Counters of terminal statuses. An event that the store had already counts nothing; one that
    /// Twilio reports both by a callback and by Event Streams is two.
    #[derive(Clone)]
    pub struct Outcomes {
        /// Terminal statuses that the store did not have before
        ended: IntCounterVec = "offhook_outcomes_total" by ["resource", "status"],
        /// Failures among them, by Twilio's ErrorCode: none if it has no code, other if the code is rare
        failed: IntCounterVec = "offhook_failures_total" by ["resource", "error_code"],
    }
}

impl Outcomes {
    /// Registers every series, at zero.
    ///
    /// # Errors
    /// A name is registered already.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let outcomes = Self::register(registry)?;
        for resource in Resource::ALL {
            for status in resource.terminals() {
                outcomes.ended.with_label_values(&[resource.as_str(), status]);
            }
            for code in error::labels(resource) {
                outcomes.failed.with_label_values(&[resource.as_str(), code]);
            }
        }
        Ok(outcomes)
    }

    /// How many ended in each terminal status.
    #[must_use]
    pub fn by_status(&self) -> Vec<((Resource, &'static str), IntCounter)> {
        let all = Resource::ALL
            .into_iter()
            .flat_map(|resource| resource.terminals().map(move |status| (resource, status)));
        all.map(|(resource, status)| {
            let labels = [resource.as_str(), status];
            ((resource, status), self.ended.with_label_values(&labels))
        })
        .collect()
    }

    /// Counts an event that is fresh in the store, if it ends something.
    pub(super) fn count(&self, event: &Event) {
        let (Some(resource), Some(status)) = (event.resource, event.status.as_deref()) else {
            return;
        };
        let Some(status) = resource.terminals().find(|known| *known == status) else {
            return;
        };
        self.ended.with_label_values(&[resource.as_str(), status]).inc();
        // Only now is the body looked at again: failures are few.
        if resource.is_failure(status) {
            let code = error::label(event, resource);
            self.failed.with_label_values(&[resource.as_str(), code]).inc();
        }
    }
}
