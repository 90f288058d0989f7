//! [`Gate`]: who may ask. Whoever has the token, as a bearer or, in a browser, as a session that was
//! made from it; or anybody on loopback, if there is none.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::clock::Timestamp;
use crate::event::key::hex;

/// A shift. After it the token is asked for again.
const SESSION: Duration = Duration::from_secs(12 * 60 * 60);

/// The token, and what is derived from it.
#[derive(Debug)]
pub struct Gate {
    token: Option<SecretString>,
    /// Sessions and forms are signed with it. The token itself, so that all processes that share it
    /// know each other's; without one, a secret of this process.
    key: SecretString,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Visitor {
    /// A browser with a session.
    Session(String),
    /// A program with the token.
    Bearer,
    /// Somebody on this machine, where no token is asked for.
    Local,
}

impl Gate {
    /// Asks for the token, if there is one.
    #[must_use]
    pub fn new(token: Option<SecretString>) -> Self {
        let random: [u8; 32] = rand::random();
        let key = token.clone().unwrap_or_else(|| hex(&random).into());
        Self { token, key }
    }

    /// Whether nothing is asked for.
    pub(super) fn is_open(&self) -> bool {
        self.token.is_none()
    }

    /// Whether it is the token. In constant time, and without telling the length: the MACs of both
    /// are compared.
    pub(super) fn is_token(&self, given: &str) -> bool {
        let of = |text: &str| self.mac("token", text);
        let same = |token: &SecretString| {
            of(given).verify_slice(&of(token.expose_secret()).finalize().into_bytes()).is_ok()
        };
        self.token.as_ref().is_some_and(same)
    }

    /// A session from now on: when it ends, and the proof that we said so.
    pub(super) fn session(&self, now: Timestamp) -> String {
        let ends = now.micros() / 1_000_000 + SESSION.as_secs().cast_signed();
        format!("{ends}.{}", self.proof("session", &ends.to_string()))
    }

    /// How long a session is, in seconds.
    pub(super) fn session_seconds() -> u64 {
        SESSION.as_secs()
    }

    /// Whether a session is ours and has not ended.
    pub(super) fn holds(&self, session: &str, now: Timestamp) -> bool {
        let Some((ends, proof)) = session.split_once('.') else { return false };
        let in_time = ends.parse::<i64>().is_ok_and(|ends| now.micros() / 1_000_000 < ends);
        in_time && self.is_proof("session", ends, proof)
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

impl Visitor {
    fn name(&self) -> &str {
        match self {
            Self::Session(session) => session,
            Self::Bearer => "bearer",
            Self::Local => "local",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        Gate::new(Some("secret".into()))
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros((1_795_500_000 + seconds.cast_signed()) * 1_000_000)
    }

    #[test]
    fn only_the_token_is_the_token() {
        assert!(gate().is_token("secret"));
        for wrong in ["", "secre", "secret ", "Secret", "secretsecret"] {
            assert!(!gate().is_token(wrong), "{wrong}");
        }
        assert!(!Gate::new(None).is_token(""));
    }

    #[test]
    fn a_session_holds_until_it_ends_and_nobody_can_make_one() {
        let session = gate().session(at(0));
        assert!(gate().holds(&session, at(0)), "in another process with the token, too");
        assert!(gate().holds(&session, at(SESSION.as_secs() - 1)));
        assert!(!gate().holds(&session, at(SESSION.as_secs())));
        assert!(!Gate::new(Some("other".into())).holds(&session, at(0)));
        let (ends, proof) = session.split_once('.').expect("two parts");
        let later = ends.parse::<i64>().expect("a number") + 1;
        for forged in [format!("{later}.{proof}"), format!("{ends}."), ends.into(), "".into()] {
            assert!(!gate().holds(&forged, at(0)), "{forged}");
        }
        assert!(!session.contains("secret"));
    }

    #[test]
    fn a_form_is_of_one_visitor() {
        let (one, two) = (Visitor::Session("1".into()), Visitor::Session("2".into()));
        let proof = gate().form_proof(&one);
        assert!(gate().is_form_proof(&one, &proof));
        assert!(!gate().is_form_proof(&two, &proof));
        assert!(!gate().is_form_proof(&one, ""));
        let local = Gate::new(None).form_proof(&Visitor::Local);
        assert!(!Gate::new(None).is_form_proof(&Visitor::Local, &local), "of another process");
    }
}
