//! Whether two requests are the same: by the hash of what was written, so that it does not matter what was reloaded
//! between them.

use serde_json::Value;

use super::{NotificationAsk, Plan};
use crate::clock::Timestamp;
use crate::http::problem::Problem;
use crate::outbound::Hashes;
use crate::outbound::config::Config;

impl NotificationAsk {
    /// The hash of the request as it was written, in whichever order and with whichever white space.
    pub(in crate::outbound::api) fn hash(&self, hashes: &Hashes) -> String {
        let values = self.values.clone().map(|values| {
            let mut values = Value::Object(values);
            values.sort_all_objects();
            values.to_string()
        });
        let said = self.said(values.as_deref());
        hashes.request(&said.into_iter().flat_map(|(name, it)| [name, it]).collect::<Vec<_>>())
    }

    /// The fields that are there, each with its name, so that a field that a later version has changes nothing.
    fn said<'a>(&'a self, values: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
        let Self {
            to,
            email,
            text,
            subject,
            html,
            values: _,
            sender,
            route,
            purpose,
            confirm,
            deadline,
            on_unknown,
            reference,
            time_zone,
        } = self;
        let said = [
            ("to", Some(&**to)),
            ("email", email.as_deref()),
            ("text", Some(text)),
            ("subject", subject.as_deref()),
            ("html", html.as_deref()),
            ("values", values),
            ("sender", sender.as_deref()),
            ("route", route.as_deref()),
            ("purpose", Some(purpose)),
            ("confirm", confirm.as_deref()),
            ("deadline", deadline.as_deref()),
            ("on_unknown", on_unknown.as_deref()),
            ("reference", reference.as_deref()),
            ("time_zone", time_zone.as_deref()),
        ];
        said.into_iter().filter_map(|(name, it)| Some((name, it?))).collect()
    }

    /// Whether a request that was kept with this hash is this one.
    ///
    /// # Errors
    /// It is not by what was written, and cannot be planned, so that it is not known what the version before made of it.
    pub(in crate::outbound::api) fn is_of(
        &self,
        hash: &str,
        config: &Config,
        hashes: &Hashes,
        now: Timestamp,
    ) -> Result<bool, Problem> {
        Ok(hash == self.hash(hashes) || hash == self.plan(config, now)?.former_hash(self, hashes))
    }
}

impl Plan<'_> {
    /// The hash that the version before kept, which was of what had been planned.
    fn former_hash(&self, asked: &NotificationAsk, hashes: &Hashes) -> String {
        let (to, sender) = (self.to(asked), &self.steps[0].sender.name);
        let mut said = vec![
            &*to,
            &self.texts.text,
            if asked.route.is_some() { "" } else { sender },
            self.purpose.as_str(),
            self.on_unknown.as_str(),
            asked.deadline.as_deref().unwrap_or_default(),
            asked.reference.as_deref().unwrap_or_default(),
        ];
        said.extend(asked.time_zone.as_deref());
        said.extend(asked.confirm.as_deref());
        said.extend(asked.route.as_deref().into_iter().flat_map(|name| ["route", name]));
        let of_mail = [
            ("email", self.reached.second()),
            ("subject", self.texts.subject.as_deref()),
            ("html", self.texts.html.as_deref()),
        ];
        said.extend(of_mail.into_iter().filter_map(|(name, it)| Some([name, it?])).flatten());
        hashes.request(&said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::outbound::config::testing::config;
    use crate::outbound::identity::testing::hashes;

    const WRITTEN: &str = r#"{"to": "+14155550001", "text": "Order {{ order.id }} is {{ state }}.",
        "purpose": "transactional", "values": {"state": "on its way", "order": {"id": 1, "of": "Ana"}}}"#;

    fn asked(text: &str) -> NotificationAsk {
        serde_json::from_str(text).expect("it is a request")
    }

    fn is_of(asked: &NotificationAsk, hash: &str, config: &Config) -> Result<bool, Problem> {
        asked.is_of(hash, config, &hashes(), Clock::System.now())
    }

    #[test]
    fn a_request_is_the_same_in_another_order_and_another_one_if_a_field_differs() {
        let hash = asked(WRITTEN).hash(&hashes());
        let same = r#"{"values":{"order":{"of":"Ana","id":1},"state":"on its way"},"sender":null,
            "purpose":"transactional","text":"Order {{ order.id }} is {{ state }}.","to":"\u002b14155550001"}"#;
        assert_eq!(asked(same).hash(&hashes()), hash);
        for (written, other) in [
            ("+14155550001", "+14155550002"),
            ("Order", "Parcel"),
            ("\"id\": 1", "\"id\": 2"),
            ("transactional", "alert"),
            ("{\"to\"", "{\"sender\": \"alerts\", \"to\""),
            ("{\"to\"", "{\"reference\": \"1\", \"to\""),
            ("{\"to\"", "{\"time_zone\": \"1\", \"to\""),
        ] {
            assert_ne!(asked(&WRITTEN.replace(written, other)).hash(&hashes()), hash, "{other}");
        }
    }

    #[test]
    fn a_request_stays_the_same_whatever_is_reloaded() {
        let asked = asked(WRITTEN);
        let hash = asked.hash(&hashes());
        let mut renamed = config();
        renamed.senders[0].name = "shop".to_owned();
        let mut several = renamed.clone();
        several.senders.extend(config().senders);
        for config in [config(), renamed, several.clone()] {
            assert!(is_of(&asked, &hash, &config).is_ok_and(|is_same| is_same));
        }
        assert!(is_of(&asked, "another", &config()).is_ok_and(|is_same| !is_same));
        assert!(is_of(&asked, "another", &several).is_err(), "it names none of them");
    }

    /// As long as keys last, rows are there that the version before has kept.
    #[test]
    fn a_request_that_the_version_before_has_kept_is_the_same() {
        let text = "Order 1 is on its way.";
        let kept = ["+14155550001", text, "alerts", "transactional", "report", "", ""];
        let hash = |more: &[&str]| hashes().request(&[&kept[..], more].concat());
        let check = |asked: &NotificationAsk, hash: &str, is_same| {
            assert!(is_of(asked, hash, &config()).is_ok_and(|it| it == is_same), "{asked:?}");
        };
        check(&asked(WRITTEN), &hash(&[]), true);
        check(&asked(&WRITTEN.replace("Order", "Parcel")), &hash(&[]), false);
        let zone = WRITTEN.replace("{\"to\"", "{\"time_zone\": \"Europe/Berlin\", \"to\"");
        check(&asked(&zone), &hash(&["Europe/Berlin"]), true);
        check(&asked(&zone), &hash(&[]), false);
    }
}
