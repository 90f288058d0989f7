//! `[[route]]`: the senders by which a recipient is reached, one after the other, until one is confirmed.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;

use super::sender::{self, confirm};
use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::dispatch::decision::WAIT;
use crate::dispatch::{Channel, Confirm};
use crate::outbound::config::{Route, RouteStep, Sender};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRoute {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) step: Vec<RawStep>,
    #[serde(default)]
    pub(crate) despite_stop: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStep {
    pub(crate) sender: String,
    pub(crate) wait_s: Option<u64>,
    #[serde(default, deserialize_with = "confirm")]
    pub(crate) confirm: Option<Confirm>,
}

/// Most steps of a route: each of them may reach the recipient once more.
const MOST_STEPS: usize = 5;
/// The longest time that a step is waited for: a day.
const LONGEST_WAIT_S: u64 = 24 * 3600;

/// Every route, in the order of the configuration.
pub(crate) fn resolve(loaded: &Loaded, senders: &[Sender]) -> Result<Vec<Route>, ConfigError> {
    let mut names = HashSet::new();
    let routes = loaded.raw.route.iter().enumerate().map(|(place, raw)| {
        let wrong = |key: &str, problem: String| ConfigError {
            key: format!("route[{place}].{key}"),
            origin: loaded.origin("route"),
            problem,
        };
        let name = sender::name("name", &raw.name).map_err(|(key, problem)| wrong(key, problem))?;
        if !names.insert(name.clone()) {
            let problem =
                "another route has this name, by which requests choose one: give each its own";
            return Err(wrong("name", problem.to_owned()));
        }
        if !(1..=MOST_STEPS).contains(&raw.step.len()) {
            let problem =
                format!("it has {} steps, and a route has 1 to {MOST_STEPS}", raw.step.len());
            return Err(wrong("step", problem));
        }
        let steps = raw.step.iter().enumerate().map(|(nth, raw)| {
            step(raw, senders)
                .map_err(|(key, problem)| wrong(&format!("step[{nth}].{key}"), problem))
        });
        Ok(Route { name, steps: steps.collect::<Result<_, _>>()?, despite_stop: raw.despite_stop })
    });
    routes.collect()
}

fn step(raw: &RawStep, senders: &[Sender]) -> Result<RouteStep, (&'static str, String)> {
    let Some(sender) = senders.iter().find(|sender| sender.name == raw.sender.trim()) else {
        let problem = "there is no [[sender]] of this name: name one that there is";
        return Err(("sender", problem.to_owned()));
    };
    let wait = match (sender.channel(), raw.wait_s) {
        (Channel::Call, Some(_)) => {
            let problem = "a call ends by itself: leave it out, and set timeout_s and time_limit_s at the [[sender]]";
            return Err(("wait_s", problem.to_owned()));
        }
        (Channel::Call, None) => None,
        (Channel::Message | Channel::Email, None) => Some(WAIT),
        (Channel::Message | Channel::Email, Some(wait_s))
            if (1..=LONGEST_WAIT_S).contains(&wait_s) =>
        {
            Some(Duration::from_secs(wait_s))
        }
        (Channel::Message | Channel::Email, Some(_)) => {
            return Err(("wait_s", format!("it is not from 1 to {LONGEST_WAIT_S}")));
        }
    };
    if raw.confirm.is_some() && sender.channel() != Channel::Call {
        let problem = "its delivery confirms a message or an email: leave it out, or name a sender that calls";
        return Err(("confirm", problem.to_owned()));
    }
    Ok(RouteStep { sender: sender.name.clone(), wait, confirm: raw.confirm })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULTS;
    use crate::config::testing::{MINIMAL, check_error, load};

    const SENDERS: &str = "[[sender]]\nname = 'sms'\nfrom = '+12125550100'\n\
                           [[sender]]\nname = 'calls'\nfrom = '+12125550100'\nkind = 'voice'\n";

    fn routes(text: &str) -> Vec<Route> {
        let config = load(&MINIMAL, &format!("{SENDERS}{text}")).expect("it is right");
        config.outbound.expect("there are senders").routes
    }

    #[track_caller]
    fn check_wrong(text: &str, parts: &[&str]) {
        check_error(load(&MINIMAL, &format!("{SENDERS}{text}")), parts);
    }

    #[test]
    fn a_route_has_steps_in_their_order() {
        assert_eq!(routes(""), []);
        let text = "[[route]]\nname = 'urgent'\n[[route.step]]\nsender = 'sms'\n[[route.step]]\nsender = 'calls'\n\
                    [[route]]\nname = 'sms-again'\ndespite_stop = true\n[[route.step]]\nsender = 'sms'\nwait_s = 60\n\
                    [[route.step]]\nsender = 'calls'\nconfirm = 'human'\n";
        let step = |sender: &str, wait: Option<u64>, confirm| RouteStep {
            sender: sender.to_owned(),
            wait: wait.map(Duration::from_secs),
            confirm,
        };
        let route = |name: &str, steps: [RouteStep; 2], despite_stop| Route {
            name: name.to_owned(),
            steps: steps.into(),
            despite_stop,
        };
        let calls = step("calls", None, Some(Confirm::Human));
        let expected = [
            route("urgent", [step("sms", Some(300), None), step("calls", None, None)], false),
            route("sms-again", [step("sms", Some(60), None), calls], true),
        ];
        assert_eq!(routes(text), expected);
    }

    #[test]
    fn what_is_wrong_with_a_route_is_named() {
        let route = "[[route]]\nname = 'urgent'\n";
        let step = |more: &str| format!("{route}[[route.step]]\n{more}\n");
        check_wrong(route, &["route[0].step", "0 steps", "my.toml"]);
        let six = format!("{route}{}", "[[route.step]]\nsender = 'sms'\n".repeat(6));
        check_wrong(&six, &["route[0].step", "6 steps"]);
        check_wrong(&step("sender = 'fax'"), &["route[0].step[0].sender", "no [[sender]]"]);
        check_wrong(&step("sender = 'sms'\nconfirm = 'digit'"), &["step[0].confirm", "delivery"]);
        check_wrong(&step("sender = 'calls'\nwait_s = 60"), &["step[0].wait_s", "timeout_s"]);
        check_wrong(&step("sender = 'sms'\nwait_s = 0"), &["step[0].wait_s", "1 to 86400"]);
        check_wrong(&step("sender = 'sms'\nwait = 60"), &["wait", "my.toml"]);
        let one = step("sender = 'sms'");
        check_wrong(&format!("{one}{one}"), &["route[1].name", "another route"]);
        check_wrong(&one.replace("urgent", "Very urgent"), &["route[0].name", "not a name"]);
        let alone = load(&MINIMAL, &one);
        check_error(alone, &["route[0].step[0].sender", "no [[sender]]"]);
    }

    /// The built-in file shows a route as a comment, which is one.
    #[test]
    fn the_route_that_is_documented_can_be_read() {
        let shown = DEFAULTS.split("# [[route]]\n").nth(1).expect("it is there");
        let shown = shown.split("\n\n").next().expect("it ends");
        let shown = shown.lines().map(|line| line.trim_start_matches("# ")).collect::<Vec<_>>();
        let shown = shown.join("\n").replace("'alerts'", "'sms'").replace("\"alerts\"", "'sms'");
        let text = format!("[[route]]\n{}", shown.replace("\"night\"", "'calls'"));
        let [route] = &routes(&text)[..] else { panic!("{text}") };
        assert_eq!((&*route.name, route.steps.len(), route.despite_stop), ("urgent", 2, false));
        assert_eq!(route.steps[0].wait, Some(WAIT));
        assert_eq!(route.steps[1].confirm, Some(Confirm::Digit));
    }
}
