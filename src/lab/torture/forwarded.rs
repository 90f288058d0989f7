//! [`Forwarded`]: an endpoint to which everything is forwarded, and what arrived there, compared with the feed.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::{Duration, Instant, sleep};

use super::testbed::Testbed;
use super::verdict::Store;
use crate::clock::Timestamp;
use crate::lab::endpoint::{Arrival, Endpoint};

/// Until everything must be forwarded once everything works again: longer than a lease and than every wait that an
/// outage leaves behind.
const CATCH_UP: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(200);
/// What is forwarded unless kinds are named.
const WANTED: &str = "SELECT id, account, coalesce(sid, '') FROM changes \
    WHERE kind NOT IN ('twiml_request', 'fallback') ORDER BY id";

/// An endpoint, and the store whose changes it is to get.
pub(super) struct Forwarded {
    pub(super) endpoint: Endpoint,
    store: Store,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub(super) struct Figures {
    /// Changes that were to be forwarded.
    changes: usize,
    /// Those that the endpoint never took.
    lost: usize,
    /// Requests that it took again.
    doubled: usize,
    /// Requests that came before what precedes them in their SID was taken.
    out_of_order: usize,
    /// Requests about no change.
    unknown: usize,
    /// Requests that it did not take.
    refused: usize,
    /// From the store to the endpoint, in ms.
    p50_ms: u128,
    p99_ms: u128,
}

impl Figures {
    /// Doubles are what at least once means.
    pub(super) fn are_good(&self) -> bool {
        self.lost + self.out_of_order + self.unknown == 0 && self.changes > 0
    }
}

impl Forwarded {
    /// Tells every process to forward to it, from the first change on.
    pub(super) async fn begin(testbed: &mut Testbed, more: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::start().await.context("no port for an endpoint")?;
        let file = testbed.directory().join("forward.toml");
        let text = format!(
            "[[forward]]\nname = \"app\"\nurl = \"{}\"\nform = \"standard\"\nfrom = \"start\"\n\
             secrets = [\"whsec_{}\"]\n{more}\n",
            endpoint.url(),
            "bm90IGEgc2VjcmV0LCBidXQgYSB0b3J0dXJlIG9mIG9mZmhvb2s="
        );
        std::fs::write(&file, text).context("the configuration")?;
        testbed.set("OFFHOOK_CONFIG", &file.display().to_string());
        Ok(Self { endpoint, store: testbed.store() })
    }

    /// Waits until everything is forwarded, or never will be; what came of it.
    pub(super) async fn end(&self) -> anyhow::Result<Figures> {
        let began = Instant::now();
        loop {
            let figures = figures(&self.wanted().await?, &self.endpoint.arrivals());
            if figures.lost == 0 || began.elapsed() > CATCH_UP {
                return Ok(figures);
            }
            sleep(POLL).await;
        }
    }

    async fn wanted(&self) -> sqlx::Result<Vec<(i64, String, String)>> {
        match &self.store {
            Store::Sqlite(path) => {
                let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
                sqlx::query_as(WANTED).fetch_all(&mut connection).await
            }
            Store::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await?;
                sqlx::query_as(WANTED).fetch_all(&mut connection).await
            }
        }
    }
}

fn figures(wanted: &[(i64, String, String)], arrivals: &[Arrival]) -> Figures {
    let mut figures = Figures { changes: wanted.len(), ..Figures::default() };
    // The changes of each SID in order, and how many of them were taken, one after the other.
    let mut sids: BTreeMap<(&str, &str), (Vec<i64>, usize)> = BTreeMap::new();
    let mut of_change: HashMap<i64, (&str, &str)> = HashMap::new();
    for (id, account, sid) in wanted {
        of_change.insert(*id, (account, sid));
        sids.entry((account, sid)).or_default().0.push(*id);
    }
    let mut taken = HashSet::new();
    let mut waits = Vec::new();
    for arrival in arrivals {
        let change: Value = serde_json::from_slice(&arrival.body).unwrap_or_default();
        let id = change["data"]["id"].as_i64().unwrap_or_default();
        let Some(group) = of_change.get(&id) else {
            figures.unknown += 1;
            continue;
        };
        let (ids, done) = sids.get_mut(group).expect("each change is in its group");
        let place = ids.iter().position(|other| *other == id).unwrap_or_default();
        let alone = group.1.is_empty();
        figures.out_of_order += usize::from(!alone && place > *done);
        if !arrival.taken {
            figures.refused += 1;
            continue;
        }
        figures.doubled += usize::from(!taken.insert(id));
        *done = (*done).max(place + 1);
        let stored_at = change["data"]["stored_at"].as_str().and_then(Timestamp::parse_rfc3339);
        waits.extend(stored_at.map(|stored_at| arrival.at.since(stored_at).as_millis()));
    }
    waits.sort_unstable();
    let quantile = |of: usize| waits.get(waits.len() * of / 100).copied().unwrap_or_default();
    figures.lost = wanted.iter().filter(|(id, ..)| !taken.contains(id)).count();
    (figures.p50_ms, figures.p99_ms) = (quantile(50), quantile(99));
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LOST, DOUBLED, out of order, unknown.
    fn check(arrivals: &[(i64, bool)], expected: [usize; 4]) {
        let wanted: Vec<_> = [(1, "CA1"), (2, "CA1"), (3, "CA2")]
            .map(|(id, sid)| (id, "AC1".to_owned(), sid.to_owned()))
            .into();
        let arrival = |(id, taken): &(i64, bool)| Arrival {
            at: Timestamp::from_micros(0),
            head: String::new(),
            body: format!("{{\"data\":{{\"id\":{id}}}}}").into(),
            taken: *taken,
        };
        let arrivals: Vec<_> = arrivals.iter().map(arrival).collect();
        let found = figures(&wanted, &arrivals);
        assert_eq!([found.lost, found.doubled, found.out_of_order, found.unknown], expected);
    }

    #[test]
    fn each_figure_finds_what_it_is_for() {
        check(&[(3, true), (1, true), (2, true)], [0, 0, 0, 0]);
        check(&[(1, false), (3, true), (1, true), (2, true), (1, true)], [0, 1, 0, 0]);
        check(&[(2, true), (1, true), (3, false)], [1, 0, 1, 0]);
        check(&[(1, true), (2, true), (3, true), (4, true)], [0, 0, 0, 1]);
    }
}
