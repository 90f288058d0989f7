//! [`Auth`]: who may ask, and who may change something. A client shows a token as a bearer, or in a browser a
//! session that was made from one. Where no token is configured, every client on loopback may do both.

mod require;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use prometheus::{IntCounter, Registry};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::time::sleep;
use tracing::warn;

pub(super) use self::require::{SESSION_COOKIE, require_auth, require_same_site};
use crate::clock::Timestamp;
use crate::event::key::hex;
use crate::metrics::metrics;

/// A shift. After it the token is asked for again.
const SESSION: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions at one time; the one that ends first makes room for one more.
const SESSIONS: usize = 1_000;
/// How long a wrong token waits for its answer, one after the other.
const PAUSE: Duration = Duration::from_millis(250);
/// How often wrong tokens are a line of the log.
const TOLD_EVERY: Duration = Duration::from_secs(10);

metrics! {
    /// Metrics of the tokens.
    #[derive(Debug)]
    struct AuthMetrics {
        /// Requests of the private listener with a token, or a login, that was wrong.
        wrong_tokens: IntCounter = "offhook_admin_wrong_tokens_total",
    }
}

/// The tokens, and what is derived from them.
#[derive(Debug)]
pub struct Auth {
    token: Option<SecretString>,
    /// For people and scrapers that must change nothing.
    read_token: Option<SecretString>,
    /// Random, so that nothing that leaves this process tells anything about a token.
    key: SecretString,
    /// By a MAC of what the cookie holds.
    sessions: Mutex<HashMap<String, Session>>,
    metrics: AuthMetrics,
    told: Mutex<Told>,
    /// Held for [`PAUSE`] by each wrong token in its turn.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    ends: Timestamp,
    may: Access,
}

#[derive(Debug, Default)]
struct Told {
    last: Option<Timestamp>,
    since: u64,
}

/// What a visitor may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// Look at everything.
    Look,
    /// And replay and purge.
    Change,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Visitor {
    /// A browser with a session.
    Session(String, Access),
    /// A program with a token.
    Bearer(Access),
    /// Somebody on this machine, where no token is asked for.
    Local,
}

impl Auth {
    /// Asks for the token, if there is one; `read_token` is for those who may only look.
    ///
    /// # Errors
    /// The name of its metric is registered already.
    pub fn new(
        token: Option<SecretString>,
        read_token: Option<SecretString>,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        Ok(Self {
            token,
            read_token,
            key: random().into(),
            sessions: Mutex::default(),
            metrics: AuthMetrics::register(registry)?,
            told: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// With these tokens, and a registry of its own.
    #[cfg(test)]
    pub(super) fn with(token: Option<&str>, read_token: Option<&str>) -> Self {
        let secret = |token: Option<&str>| token.map(SecretString::from);
        Self::new(secret(token), secret(read_token), &Registry::new()).expect("a new name")
    }

    /// Whether nothing is asked for.
    pub(super) fn is_open(&self) -> bool {
        self.token.is_none()
    }

    /// What this token allows. In constant time, and without telling the length: MACs are compared.
    pub(super) fn allows(&self, given: &str) -> Option<Access> {
        let of = |text: &str| self.mac("token", text);
        let is = |token: &Option<SecretString>| {
            token.as_ref().is_some_and(|token| {
                of(given).verify_slice(&of(token.expose_secret()).finalize().into_bytes()).is_ok()
            })
        };
        let (change, look) = (is(&self.token), is(&self.read_token));
        match (change, look) {
            (true, _) => Some(Access::Change),
            (false, true) => Some(Access::Look),
            (false, false) => None,
        }
    }

    /// A token was wrong: counts it, says so now and then, and waits. All wrong ones wait for one another,
    /// so that more connections guess no faster.
    pub(super) async fn refuse(&self, now: Timestamp) {
        self.metrics.wrong_tokens.inc();
        if let Some(more) = self.tell(now) {
            warn!(more, "a wrong token was given to the private listener");
        }
        let _turn = self.turn.lock().await;
        sleep(PAUSE).await;
    }

    /// How many were not told of before, if this one is to be.
    fn tell(&self, now: Timestamp) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let rested = |last: Timestamp| now < last || now.since(last) >= TOLD_EVERY;
        if told.last.is_none_or(rested) {
            told.last = Some(now);
            return Some(std::mem::take(&mut told.since));
        }
        told.since += 1;
        None
    }

    /// A session from now on: a random value that stands for it.
    pub(super) fn begin_session(&self, may: Access, now: Timestamp) -> String {
        let session = random();
        let mut sessions = self.sessions();
        sessions.retain(|_, session| now < session.ends);
        if sessions.len() >= SESSIONS {
            let first = sessions.iter().min_by_key(|(_, session)| session.ends);
            let first = first.map(|(name, _)| name.clone());
            first.and_then(|name| sessions.remove(&name));
        }
        let ends = now.micros().saturating_add(SESSION.as_micros() as i64);
        let ends = Timestamp::from_micros(ends);
        sessions.insert(self.proof("session", &session), Session { ends, may });
        session
    }

    /// Ends it, wherever its cookie has gone.
    pub(super) fn end_session(&self, session: &str) {
        let name = self.proof("session", session);
        self.sessions().remove(&name);
    }

    /// How long a session is, in seconds.
    pub(super) fn session_seconds() -> u64 {
        SESSION.as_secs()
    }

    /// What a session allows, if it is one, and has not ended.
    pub(super) fn session(&self, session: &str, now: Timestamp) -> Option<Access> {
        let name = self.proof("session", session);
        let found = self.sessions().get(&name).copied();
        found.filter(|found| now < found.ends).map(|found| found.may)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a form of this visitor carries, so that no page of another site can send it.
    pub(super) fn form_proof(&self, visitor: &Visitor) -> String {
        self.proof("form", visitor.name())
    }

    /// Whether a form came from a page of ours.
    pub(super) fn is_form_proof(&self, visitor: &Visitor, given: &str) -> bool {
        self.is_proof("form", visitor.name(), given)
    }

    fn proof(&self, what: &str, text: &str) -> String {
        hex(&self.mac(what, text).finalize().into_bytes())
    }

    fn is_proof(&self, what: &str, text: &str, given: &str) -> bool {
        let of = |text: &str| self.mac("proof", text);
        let right = self.proof(what, text);
        of(given).verify_slice(&of(&right).finalize().into_bytes()).is_ok()
    }

    fn mac(&self, what: &str, text: &str) -> Hmac<Sha256> {
        let key = Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes());
        let mac = key.expect("HMAC takes a key of any length");
        mac.chain_update("offhook admin ").chain_update(what).chain_update([0]).chain_update(text)
    }
}

/// What cannot be guessed.
fn random() -> String {
    hex(&rand::random::<[u8; 32]>())
}

impl Visitor {
    /// Whether it may replay and purge.
    pub(super) fn may_change(&self) -> bool {
        match self {
            Self::Session(_, may) | Self::Bearer(may) => *may == Access::Change,
            Self::Local => true,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Session(session, _) => session,
            Self::Bearer(_) => "bearer",
            Self::Local => "local",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        Auth::with(Some("secret"), Some("looking"))
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros((1_795_500_000 + seconds.cast_signed()) * 1_000_000)
    }

    #[test]
    fn only_a_token_is_a_token_and_each_allows_its_own() {
        assert_eq!(auth().allows("secret"), Some(Access::Change));
        assert_eq!(auth().allows("looking"), Some(Access::Look));
        for wrong in ["", "secre", "secret ", "Secret", "secretsecret", "lookin"] {
            assert_eq!(auth().allows(wrong), None, "{wrong}");
        }
        assert_eq!(Auth::with(None, None).allows(""), None);
    }

    #[test]
    fn a_session_holds_until_it_ends_or_is_ended_and_is_random() {
        let auth = auth();
        let (one, two) =
            (auth.begin_session(Access::Change, at(0)), auth.begin_session(Access::Look, at(0)));
        assert!(one != two && one.len() == 64);
        assert_eq!(auth.session(&one, at(SESSION.as_secs() - 1)), Some(Access::Change));
        assert_eq!(auth.session(&one, at(SESSION.as_secs())), None);
        assert_eq!(auth.session(&two, at(0)), Some(Access::Look));
        auth.end_session(&one);
        assert_eq!(auth.session(&one, at(0)), None);
        assert_eq!(auth.session(&two, at(0)), Some(Access::Look));
        for forged in ["", "0", &one[1..], &format!("{one}0")] {
            assert_eq!(auth.session(forged, at(0)), None, "{forged}");
        }
        assert_eq!(self::auth().session(&two, at(0)), None, "of another process");
    }

    #[test]
    fn sessions_are_bounded() {
        let auth = auth();
        let first = auth.begin_session(Access::Look, at(0));
        for n in 0..SESSIONS as u64 {
            auth.begin_session(Access::Look, at(1 + n));
        }
        assert_eq!(auth.sessions().len(), SESSIONS);
        assert_eq!(auth.session(&first, at(0)), None);
    }

    #[tokio::test]
    async fn wrong_tokens_wait_for_one_another_and_are_counted() {
        let auth = auth();
        let started = tokio::time::Instant::now();
        let all = (0..3).map(|_| auth.refuse(at(0)));
        futures_util::future::join_all(all).await;
        assert!(started.elapsed() >= 3 * PAUSE);
        assert_eq!(auth.metrics.wrong_tokens.get(), 3);
        assert_eq!(auth.tell(at(9)), None);
        assert_eq!(auth.tell(at(10)), Some(3));
    }

    #[test]
    fn a_form_is_of_one_visitor() {
        let auth = auth();
        let session = |name: &str| Visitor::Session(name.to_owned(), Access::Change);
        let (one, two) = (session("1"), session("2"));
        let proof = auth.form_proof(&one);
        assert!(auth.is_form_proof(&one, &proof));
        assert!(!auth.is_form_proof(&two, &proof));
        assert!(!auth.is_form_proof(&one, ""));
        let local = Auth::with(None, None).form_proof(&Visitor::Local);
        assert!(
            !Auth::with(None, None).is_form_proof(&Visitor::Local, &local),
            "of another process"
        );
    }
}
