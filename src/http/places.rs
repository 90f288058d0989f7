//! [`Places`]: how many connections there may be, and which of them gives way when there are as many.
//!
//! A connection that sends nothing costs its client nothing, so one machine could take every place. Therefore, at the
//! cap, the oldest *stranger* is closed: a connection that has not yet carried a request that was
//! [vouched for](Caller::vouch). Other connections stay open: a load balancer keeps them for its next request, and a
//! request that meets a close is lost.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Limits;

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    /// How many connections may be vouched for.
    most_known: usize,
    max_per_address: usize,
    state: Mutex<State>,
    /// A place became free.
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    known: usize,
    next: u64,
    /// The connections that have not carried a verified request, the oldest first.
    strangers: BTreeMap<u64, Arc<Holder>>,
    /// How many of each address there are; empty if that is not limited.
    by_address: HashMap<IpAddr, usize>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics; if it did, counts would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The holder of a place.
#[derive(Debug)]
struct Holder {
    places: Arc<Shared>,
    number: u64,
    address: Option<IpAddr>,
    known: AtomicBool,
    gives_way: Notify,
}

/// One place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Holder>);

/// The connection that a request came over, among the request's extensions.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Holder>);

/// An address has as many connections as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        let max = limits.max_connections.max(1);
        Self(Arc::new(Shared {
            max,
            most_known: max.saturating_sub(limits.kept_for_strangers),
            max_per_address: limits.max_connections_per_address,
            state: Mutex::default(),
            freed: Notify::new(),
        }))
    }

    /// A place for a connection from this address, if there is one.
    pub(super) fn take(&self, from: IpAddr) -> Result<Option<Place>, TooMany> {
        let Shared { max, max_per_address, .. } = *self.0;
        let mut state = self.0.state();
        let address = (max_per_address > 0).then(|| network(from));
        let same = address.and_then(|address| state.by_address.get(&address)).copied();
        if same.is_some_and(|same| same >= max_per_address) {
            return Err(TooMany);
        }
        if state.open >= max {
            return Ok(None);
        }
        let holder = Arc::new(Holder {
            places: Arc::clone(&self.0),
            number: state.next,
            address,
            known: AtomicBool::new(false),
            gives_way: Notify::new(),
        });
        state.open += 1;
        state.next += 1;
        if let Some(address) = address {
            *state.by_address.entry(address).or_default() += 1;
        }
        state.strangers.insert(holder.number, Arc::clone(&holder));
        Ok(Some(Place(holder)))
    }

    /// Tells the oldest stranger to give way, if there is one; its place is free a moment later.
    pub(super) fn make_room(&self) {
        let oldest = self.0.state().strangers.pop_first();
        if let Some((_, stranger)) = oldest {
            stranger.gives_way.notify_one();
        }
    }

    /// Waits until a place becomes free that was not free at the last call.
    pub(super) async fn freed(&self) {
        self.0.freed.notified().await;
    }
}

impl Place {
    /// Waits until it must give way.
    pub(super) async fn gives_way(&self) {
        self.0.gives_way.notified().await;
    }

    pub(super) fn caller(&self) -> Caller {
        Caller(Arc::clone(&self.0))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Holder { places, number, address, known, .. } = &*self.0;
        let mut state = places.state();
        state.open -= 1;
        state.strangers.remove(number);
        if known.load(Ordering::Relaxed) {
            state.known -= 1;
        }
        if let Some(address) = address
            && let Some(same) = state.by_address.get_mut(address)
        {
            *same -= 1;
            if *same == 0 {
                state.by_address.remove(address);
            }
        }
        drop(state);
        places.freed.notify_one();
    }
}

impl Caller {
    /// Says that this connection carried a request that only a trusted client can make: from now on it is closed only
    /// when it is idle for too long. Costs a load, once it was said.
    pub fn vouch(&self) {
        let Holder { places, number, known, .. } = &*self.0;
        if known.load(Ordering::Relaxed) {
            return;
        }
        let mut state = places.state();
        // One that gives way, or is gone, is not among the strangers any more.
        if state.known < places.most_known && state.strangers.remove(number).is_some() {
            state.known += 1;
            known.store(true, Ordering::Relaxed);
        }
    }
}

/// What counts as one address: of IPv6 the network, of which a client has 2^64 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn places(max: usize, kept: usize, per_address: usize) -> Places {
        Places::new(&Limits {
            max_connections: max,
            kept_for_strangers: kept,
            max_connections_per_address: per_address,
            ..Limits::default()
        })
    }

    fn take(places: &Places) -> Option<Place> {
        places.take(HERE).expect("addresses are not limited")
    }

    /// The numbers of those that would give way, in that order.
    fn strangers(places: &Places) -> Vec<u64> {
        places.0.state().strangers.keys().copied().collect()
    }

    #[test]
    fn the_oldest_stranger_gives_way_and_who_is_vouched_for_never_does() {
        let places = places(3, 0, 0);
        let held: Vec<Place> = (0..3).map_while(|_| take(&places)).collect();
        assert!(take(&places).is_none());
        held[0].caller().vouch();
        held[0].caller().vouch();
        assert_eq!(strangers(&places), [1, 2]);
        places.make_room();
        assert_eq!(strangers(&places), [2]);
        // It must already close: too late to vouch for it.
        held[1].caller().vouch();
        held[2].caller().vouch();
        places.make_room();
        assert_eq!(strangers(&places), [0; 0]);
        assert_eq!(places.0.state().known, 2);
        let late = held[2].caller();
        drop(held);
        late.vouch();
        let state = places.0.state();
        assert_eq!((state.open, state.known), (0, 0));
    }

    #[test]
    fn places_are_kept_for_strangers() {
        let places = places(3, 1, 0);
        let held: Vec<Place> = (0..3).map_while(|_| take(&places)).collect();
        held.iter().for_each(|place| place.caller().vouch());
        assert_eq!(strangers(&places), [2]);
    }

    #[test]
    fn an_address_has_so_many_places_and_others_have_theirs() {
        let places = places(9, 0, 2);
        let from = |address: &str| places.take(address.parse().expect("an address"));
        let one = from("192.0.2.1").expect("the first");
        let two = from("::ffff:192.0.2.1").expect("the second, of the same");
        assert_eq!(from("192.0.2.1").map(|_| ()), Err(TooMany));
        let other = from("192.0.2.2").expect("another");
        drop(one);
        let again = from("192.0.2.1").expect("one has left");
        let network = ["2001:db8::1", "2001:db8::2"].map(|address| from(address).expect("of one"));
        assert_eq!(from("2001:db8:0:0:ffff::3").map(|_| ()), Err(TooMany));
        assert!(from("2001:db8:0:1::1").is_ok());
        drop((two, other, again, network));
        assert!(places.0.state().by_address.is_empty());
    }
}
