//! The accounts' numbers and Messaging Services: whether each has fallback URLs and a status callback, and whether the
//! senders that call have numbers that can.

use std::path::Path;

use super::Finding;
use crate::cli::numbers::{Asker, Ours};
use crate::config::{Api, Config, Sources};
use crate::outbound::config::{Origin, Sender};
use crate::twilio::rest::{Field, Incoming};

const SUBJECT: &str = "numbers";
/// How many of those that lack one are named.
const NAMED: usize = 5;

/// Lists them, which costs nothing.
pub(super) async fn look(file: Option<&Path>, config: &Config) -> Vec<Finding> {
    let not_known = |why: String| vec![Finding::ok(SUBJECT, format!("not checked: {why}"))];
    let api = match Api::load(&Sources::of_process(file.map(Path::to_owned))) {
        Ok(api) => api,
        Err(error) => return not_known(error.to_string()),
    };
    let asker = match Asker::new(&api, config.clock) {
        Ok(asker) => asker,
        Err(error) => return not_known(error.to_string()),
    };
    let (found, failed) = asker.all().await;
    if let Some(failure) = failed.first() {
        return not_known(failure.to_string());
    }
    let ours = Ours::of(config);
    let lacks = found.iter().filter(|it| !ours.missing(&it.incoming).is_empty());
    let mut findings =
        vec![finding(found.len(), &lacks.map(|it| it.incoming.id()).collect::<Vec<_>>())];
    let numbers: Vec<&Incoming> = found.iter().map(|it| &it.incoming).collect();
    let senders = config.outbound.iter().flat_map(|sending| &sending.senders);
    // Of an account that is not listed, nothing is known.
    let listed = senders.filter(|sender| api.accounts.iter().any(|it| it.sid == sender.account));
    findings.extend(listed.filter_map(|sender| calling(sender, &numbers)));
    findings
}

/// What keeps a sender from calling, by the numbers of its account.
fn calling(sender: &Sender, numbers: &[&Incoming]) -> Option<Finding> {
    let Origin::From(from) = &sender.origin else { return None };
    sender.call.as_ref()?;
    let name = &sender.name;
    let mut of_account = numbers.iter().filter(|number| number.account == sender.account);
    let Some(number) = of_account.find(|number| number.number.as_ref() == Some(from)) else {
        return Some(Finding::warning(
            SUBJECT,
            format!(
                "the number of sender {name} is not one of its account: Twilio refuses to call from it (21210), unless it is \
                 a verified caller ID"
            ),
            "set sender.from to a number of the account, or verify it at Twilio",
        ));
    };
    // Such a number has no URL for calls either.
    let cannot = number.hook(Field::VoiceUrl).is_none();
    cannot.then(|| {
        Finding::failure(
            SUBJECT,
            format!(
                "the number of sender {name} has no capability for calls at Twilio: none is made"
            ),
            "set sender.from to a number with the capability voice",
        )
    })
}

fn finding(all: usize, lack: &[&str]) -> Finding {
    if lack.is_empty() {
        let text = "numbers and Messaging Services, each with fallback URLs and a status callback";
        return Finding::ok(SUBJECT, format!("{all} {text}"));
    }
    let more = if lack.len() > NAMED { ", …" } else { "" };
    let named = lack.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    Finding::warning(
        SUBJECT,
        format!(
            "{} of {all} numbers and Messaging Services lack a fallback URL or a status callback ({named}{more}): if your \
             application fails, their callers hear an error",
            lack.len()
        ),
        "look at `offhook numbers`; `offhook numbers --apply` sets what is empty",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::dispatch::Confirm;
    use crate::dispatch::call::CallPlan;
    use crate::outbound::config::testing;
    use crate::twilio::rest::{Hook, What};

    #[test]
    fn a_sender_calls_only_from_a_number_of_its_account_that_can() {
        let plan = CallPlan {
            confirm: Confirm::Digit,
            language: None,
            voice: None,
            timeout_s: 20,
            time_limit_s: 120,
        };
        let texts = testing::config().senders.remove(0);
        let calls = Sender { call: Some(plan), ..texts.clone() };
        let number = |account: &str, hooks: Vec<Hook>| Incoming {
            what: What::Number,
            sid: "PN1".to_owned(),
            account: account.to_owned(),
            number: Some("+12125550100".to_owned()),
            name: None,
            hooks,
        };
        let voice = Hook { field: Field::VoiceUrl, url: None, method: None, overridden_by: None };
        let (can, cannot) = (number("AC1", vec![voice.clone()]), number("AC1", Vec::new()));
        let foreign = number("AC2", vec![voice]);
        let check = |sender: &Sender, numbers: &[&Incoming], expected: Option<Verdict>| {
            assert_eq!(calling(sender, numbers).map(|found| found.verdict), expected);
        };
        check(&texts, &[], None);
        check(&calls, &[&can], None);
        check(&calls, &[&cannot], Some(Verdict::Failure));
        check(&calls, &[&foreign], Some(Verdict::Warning));
    }

    #[test]
    fn what_lacks_a_url_is_named_up_to_a_bound() {
        assert_eq!(finding(3, &[]).verdict, Verdict::Ok);
        let found = finding(9, &["+1", "+2", "+3", "+4", "+5", "+6"]);
        assert_eq!(found.verdict, Verdict::Warning);
        assert!(
            found.to_string().contains("6 of 9") && found.to_string().contains("+5, …"),
            "{found}"
        );
    }
}
