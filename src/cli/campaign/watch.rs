//! `offhook campaign watch`: a bar on a terminal, lines elsewhere.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::path;
use super::shown::{evidence, time};
use crate::cli::admin_client::{AdminClient, SendingArgs};
use crate::cli::output::{say, text};
use crate::cli::terminal::{outln, progress};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Over how many looks the rate is taken.
const LOOKS: usize = 15;
/// Signs of a full bar.
const WIDTH: u64 = 20;

/// Follows it until each recipient has an outcome.
///
/// # Errors
/// The server does not answer, or the campaign does not run and will not by itself.
pub(super) async fn run(client: &AdminClient, id: &str, admin: &SendingArgs) -> anyhow::Result<()> {
    let shows_bar = admin.for_people() && std::io::stderr().is_terminal();
    let is_json = admin.wants_json();
    let (mut pace, mut last, began) = (Pace::default(), String::new(), Instant::now());
    loop {
        let answer = client.json(&path(id, ""), &[]).await?;
        let figures = Figures::of(&answer);
        let rate = pace.note(began.elapsed(), figures.ended());
        let line = figures.line();
        match (shows_bar, is_json) {
            (true, _) => progress(&format!("{} {line}{}", figures.bar(), figures.left(rate))),
            (false, _) if line == last => {}
            (false, true) => say(&format!("{answer}\n"))?,
            (false, false) => {
                let line = format!(
                    "{:7.1} s  {line}{}\n",
                    began.elapsed().as_secs_f64(),
                    figures.left(rate)
                );
                say(&line)?;
            }
        }
        last = line;
        let state = text(&answer["state"]);
        let is_over = !answer["finished_at"].is_null();
        if is_over || matches!(state.as_str(), "stopped" | "draft" | "planning") {
            if shows_bar {
                progress("");
                outln!("{}", figures.line());
            }
            return ended(&answer, &state, id);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn ended(answer: &Value, state: &str, id: &str) -> anyhow::Result<()> {
    match state {
        "stopped" => bail!(
            "it has stopped itself ({}): {}; look at them with `offhook campaign results {id}`, then resume or cancel it",
            text(&answer["reason"]),
            evidence(answer)
        ),
        "draft" | "planning" => bail!("it is not started: {state}"),
        _ => Ok(()),
    }
}

/// How many recipients stand where.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Figures {
    state: String,
    recipients: u64,
    waiting: u64,
    held: u64,
    writing: u64,
    accepted: u64,
    open: u64,
    confirmed: u64,
    failed: u64,
    unknown: u64,
    /// With any other outcome.
    other: u64,
}

impl Figures {
    fn of(answer: &Value) -> Self {
        let progress = &answer["progress"];
        let sum = |gates: &Value| {
            let counts = gates.as_object().into_iter().flatten();
            counts.filter_map(|(_, count)| count.as_u64()).sum::<u64>()
        };
        let attempts = |state: &str| progress["attempts"][state].as_u64().unwrap_or_default();
        let mut figures = Self {
            state: text(&answer["state"]),
            recipients: answer["recipients"].as_u64().unwrap_or_default(),
            waiting: progress["waiting"].as_u64().unwrap_or_default(),
            held: sum(&progress["held"]),
            writing: attempts("writing"),
            accepted: attempts("accepted"),
            ..Self::default()
        };
        let counts =
            ["ended", "notifications"].into_iter().filter_map(|key| progress[key].as_array());
        for count in counts.flatten() {
            let recipients = count["recipients"].as_u64().unwrap_or_default();
            *match count["state"].as_str() {
                Some("open") => &mut figures.open,
                Some("confirmed") => &mut figures.confirmed,
                Some("failed") => &mut figures.failed,
                Some("unknown") => &mut figures.unknown,
                _ => &mut figures.other,
            } += recipients;
        }
        figures
    }

    /// Recipients with an outcome.
    const fn ended(&self) -> u64 {
        self.confirmed + self.failed + self.unknown + self.other
    }

    fn line(&self) -> String {
        let Self {
            state,
            recipients,
            waiting,
            held,
            writing,
            accepted,
            confirmed,
            failed,
            unknown,
            ..
        } = self;
        format!(
            "{state}: {recipients} planned, {waiting} waiting, {held} held, {writing} writing, {accepted} accepted, \
             {confirmed} confirmed, {failed} failed, {unknown} unknown, {} other",
            self.other
        )
    }

    fn bar(&self) -> String {
        let of = self.recipients.max(1);
        let full = (self.ended() * WIDTH / of).min(WIDTH);
        let full = usize::try_from(full).unwrap_or_default();
        let empty = WIDTH as usize - full;
        format!("[{}{}] {:3} %", "#".repeat(full), ".".repeat(empty), self.ended() * 100 / of)
    }

    /// The rate, and the time that is left at it.
    fn left(&self, rate: f64) -> String {
        if rate < 0.01 || self.state != "running" {
            return String::new();
        }
        let left = self.recipients.saturating_sub(self.ended()) as f64 / rate;
        format!("; {rate:.1}/s, {} left", time(&format!("{left:.0}")))
    }
}

/// How many recipients had an outcome at each of the last looks.
#[derive(Default)]
struct Pace(VecDeque<(Duration, u64)>);

impl Pace {
    /// Notes a look, and returns how many a second it were since the oldest one.
    fn note(&mut self, at: Duration, ended: u64) -> f64 {
        self.0.push_back((at, ended));
        if self.0.len() > LOOKS {
            self.0.pop_front();
        }
        let (since, before) = self.0.front().copied().unwrap_or((at, ended));
        let took = at.saturating_sub(since).as_secs_f64();
        if took > 0.0 { ended.saturating_sub(before) as f64 / took } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_recipient_is_in_one_figure() {
        let figures = Figures::of(&json!({
            "state": "running",
            "recipients": 20,
            "progress": {
                "waiting": 3,
                "held": { "quiet_hours": 2, "sender": 1 },
                "ended": [{ "state": "refused", "reason": "country", "recipients": 1 }],
                "notifications": [
                    { "state": "open", "reason": null, "recipients": 5 },
                    { "state": "confirmed", "reason": "delivered", "recipients": 6 },
                    { "state": "failed", "reason": "30003", "recipients": 1 },
                    { "state": "failed", "reason": "30005", "recipients": 1 },
                ],
                "attempts": { "writing": 1, "accepted": 4 },
            },
        }));
        assert_eq!(figures.waiting + figures.held + figures.open + figures.ended(), 20);
        assert_eq!(
            figures.line(),
            "running: 20 planned, 3 waiting, 3 held, 1 writing, 4 accepted, 6 confirmed, 2 failed, 0 unknown, 1 other"
        );
        assert_eq!(figures.bar(), "[#########...........]  45 %");
        assert_eq!(
            (figures.left(0.0), figures.left(0.5)),
            (String::new(), "; 0.5/s, 22 s left".to_owned())
        );
    }

    #[test]
    fn the_rate_is_of_the_last_looks() {
        let mut pace = Pace::default();
        let rates =
            [(0, 0), (1, 10), (2, 40)].map(|(at, ended)| pace.note(Duration::from_secs(at), ended));
        assert_eq!(rates, [0.0, 10.0, 20.0]);
        for at in 3..40 {
            pace.note(Duration::from_secs(at), 40);
        }
        assert_eq!((pace.0.len(), pace.note(Duration::from_secs(40), 40)), (LOOKS, 0.0));
    }
}
