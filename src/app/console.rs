//! The metrics that the console reads, collected from their owners; and what it shows of the configuration.

use std::sync::Arc;

use crate::admin::{
    AccountHandles, ConfiguredSender, ForwardHandles, Handles, Receiving, SendHandles, TableHandles,
};
use crate::backend::outbox::CampaignState;
use crate::dispatch::decision::Escalation;
use crate::forward::ForwardMetrics;
use crate::inbound;
use crate::outbound::metrics::{AccountMetrics, Sent};
use crate::outbound::{self, SendMetrics};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::reloads::Reloads;
use crate::telemetry::stream::Reset;
use crate::upkeep::retention::{self, Table};

/// The handles of every process; what [`receiving`], [`forward`] and [`sending`] collect is left out.
pub(super) fn handles(
    metrics: &Metrics,
    reloads: &Reloads,
    retention: &retention::Metrics,
) -> Handles {
    let (commits, stream, spool) = (metrics.commits(), metrics.stream(), metrics.spool());
    Handles {
        receiving: None,
        events: commits.events.clone(),
        differing: commits.differing.clone(),
        contradicted: commits.contradicted.clone(),
        outcomes: metrics.outcomes().by_status(),
        commit_errors: commits.errors.clone(),
        stream_errors: commits.source_errors.clone(),
        stream_resets: stream.resets.of(Reset::Stream).clone(),
        group_resets: stream.resets.of(Reset::Group).clone(),
        stream_unsupported: stream.unsupported.clone(),
        stream_refusing: stream.refusing.clone(),
        blocking_groups: stream.blocking.clone(),
        depth: stream.depth.clone(),
        oldest: stream.oldest.clone(),
        dead_letters: stream.dead.clone(),
        spool: spool.events.clone(),
        spool_dead_letters: spool.dead_letters.clone(),
        damaged_files: spool.damaged.clone(),
        circuit_open: spool.circuit_open.clone(),
        below: metrics.durability().below.clone(),
        calls_in_progress: metrics.calls().in_progress.clone(),
        calls_limit: metrics.calls().limit.clone(),
        participants: metrics.calls().participants.clone(),
        reload_successful: reloads.last_successful.clone(),
        retention: Table::ALL.into_iter().map(|table| of_table(retention, table)).collect(),
        forwards: Arc::default(),
        sending: None,
    }
}

fn account(metrics: &AccountMetrics) -> AccountHandles {
    AccountHandles {
        name: metrics.name.clone(),
        requests: Sent::ALL.map(|sent| metrics.of(sent).clone()).into(),
        throttled: metrics.of(Sent::Throttled).clone(),
        unsent: metrics.of(Sent::Unsent).clone(),
        calls: metrics.calls.clone(),
        calls_limit: metrics.calls_limit.clone(),
    }
}

/// What may be shown of each sender.
pub(super) fn senders(config: Option<&outbound::Config>) -> Vec<ConfiguredSender> {
    let shown = |config: &outbound::Config| {
        let sender = |sender: &outbound::config::Sender| ConfiguredSender {
            name: sender.name.clone(),
            kind: sender.kind.as_str(),
            account: sender.account.clone(),
            pace: sender.pace.clone(),
            rate: config.pace(sender).rate.get(),
            calls_limit: sender.call.as_ref().map(|_| config.lines().limit(&sender.account)),
        };
        config.senders.iter().map(sender).collect()
    };
    config.map(shown).unwrap_or_default()
}

/// The handles of sending.
pub(super) fn sending(metrics: &SendMetrics) -> SendHandles {
    SendHandles {
        accounts: metrics.accounts.iter().map(account).collect(),
        paused: metrics.senders.clone(),
        due: metrics.due.clone(),
        oldest_due: metrics.oldest_due.clone(),
        unknown: metrics.unknown.clone(),
        other_key: metrics.other_key.clone(),
        mismatches: metrics.mismatches.clone(),
        missed: metrics.missed.clone(),
        escalated_blind: metrics.escalated(Escalation::Blind),
        duplicates: metrics.duplicates.clone(),
        campaigns_stopped: metrics.campaigns(CampaignState::Stopped),
    }
}

/// The handles of one forward.
pub(super) fn forward(metrics: &ForwardMetrics) -> ForwardHandles {
    ForwardHandles {
        name: metrics.name.clone(),
        lag: metrics.lag.clone(),
        waiting: metrics.waiting.clone(),
        given_up: metrics.given_up.clone(),
        cut: metrics.cut.clone(),
        store_errors: metrics.store_errors.clone(),
        down: metrics.down.clone(),
        disabled: metrics.disabled.clone(),
    }
}

fn of_table(metrics: &retention::Metrics, table: Table) -> TableHandles {
    let (errors, held) = (metrics.errors.of(table).clone(), metrics.held.of(table).clone());
    TableHandles { name: table.as_str(), errors, held }
}

/// The handles of the public listener.
pub(super) fn receiving(metrics: &inbound::Metrics) -> Receiving {
    Receiving {
        requests: metrics.requests.clone(),
        duration: metrics.duration.clone(),
        refusals: metrics.refusals.clone(),
        twiml_requests: metrics.twiml_requests.clone(),
        accept_failures: metrics.accept_failures.clone(),
        fallback_unrecorded: metrics.fallback_unrecorded.clone(),
        secret_matches: metrics.secret_matches.clone(),
        secret_retiring: metrics.secret_retiring.clone(),
    }
}

/// Of a process that receives and works, for the tests of the console.
#[cfg(test)]
pub(crate) fn handles_of_a_receiver() -> Handles {
    use prometheus::Registry;

    use crate::clock::{Clock, Timestamp};
    use crate::spans::Spans;

    let registry = Registry::new();
    let metrics = Metrics::new(&registry, Spans::default(), Clock::System).expect("new names");
    let reloads = Reloads::new(&registry, Timestamp::from_micros(0)).expect("new names");
    let retention = retention::Metrics::register(&registry).expect("new names");
    let inbound = inbound::Metrics::register(&registry).expect("new names");
    let receiving = Some(receiving(&inbound));
    Handles { receiving, ..handles(&metrics, &reloads, &retention) }
}
