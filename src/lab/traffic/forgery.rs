//! [`Forgery`]: requests that are not Twilio's.

use secrecy::SecretString;

use super::Writer;
use crate::lab::sample::{self, Callback, Signed};
use crate::twilio::keyring::Secret;
use crate::twilio::signature::BODY_HASH;

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Forgery {
    /// Signed with a guessed token.
    GuessedToken,
    /// Signed well, and changed afterwards.
    ChangedBody,
    /// Not signed.
    NoSignature,
    /// Signed with something that is not a signature.
    NoBase64,
    /// Of an account that is not ours.
    OtherAccount,
    /// JSON whose body is not covered by its signature.
    UncoveredBody,
}

impl Forgery {
    pub(crate) const ALL: [Self; 6] = [
        Self::GuessedToken,
        Self::ChangedBody,
        Self::NoSignature,
        Self::NoBase64,
        Self::OtherAccount,
        Self::UncoveredBody,
    ];

    /// The reason for which it must be refused, as the metrics name it.
    fn reason(self) -> &'static str {
        match self {
            Self::GuessedToken | Self::ChangedBody => "wrong_signature",
            Self::NoSignature => "missing_signature",
            Self::NoBase64 => "malformed_signature",
            Self::OtherAccount => "unknown_account",
            Self::UncoveredBody => "missing_body_hash",
        }
    }

    /// The request for `url` and its signature header; `secret` is the right one.
    pub(crate) fn forge(
        self,
        callback: &Callback,
        url: &str,
        secret: &Secret,
    ) -> (Signed, Option<String>) {
        let mut signed = callback.post(url, secret);
        let signature = match self {
            Self::GuessedToken => {
                let guessed = Secret::auth_token(&SecretString::from("a guess"));
                callback.post(url, &guessed).signature
            }
            Self::NoSignature => return (signed, None),
            Self::NoBase64 => "not a signature".to_owned(),
            Self::ChangedBody => {
                signed.body = [&signed.body[..], b"&CallDuration=1"].concat().into();
                signed.signature.clone()
            }
            Self::OtherAccount => signed.signature.clone(),
            Self::UncoveredBody => {
                signed.url = signed.url.replace(BODY_HASH, "other");
                signed.signature.clone()
            }
        };
        (signed, Some(signature))
    }
}

impl Writer {
    pub(super) fn forgery(&mut self, forgery: Forgery) {
        let (sid, at, mut parties) = (self.sid("CA"), self.moment(), self.parties());
        if forgery == Forgery::OtherAccount {
            parties.account = self.sid("AC");
        }
        let (callback, path) = match forgery {
            Forgery::UncoveredBody => {
                let event = sample::message_event(&parties, &sid, &sid, "delivered");
                (Callback::Json(serde_json::json!([event])), "/event-streams")
            }
            _ => (sample::call(&parties, &sid, "completed", 3), "/status"),
        };
        self.push(at, path, callback, &[], Some(forgery));
        *self.traffic.expected.refused.entry(forgery.reason()).or_default() += 1;
    }
}
