//! `offhook forwards`: the state of what a running server sends on to other URLs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin_client::{AdminArgs, AdminClient};
use super::output::{count, say, table, text};
use super::terminal::outln;
use crate::clock::{Clock, Timestamp};

/// The arguments.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Forwards {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the forwards, and the state of each
    ///
    /// This is what `offhook forwards` does without a command.
    List {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// List the changes that wait for another try, in the order in which they were stored
    Waiting(Listing),
    /// List the changes that were given up
    GivenUp(Listing),
    /// Resend changes that were given up
    Replay(Replay),
    /// Resume a forward that was disabled, once its cause is fixed
    Enable(Which),
    /// Send nothing until the forward is enabled again; what is stored meanwhile, and was not deleted by retention, is sent then
    Disable(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// The name of the forward
    name: String,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
struct Listing {
    /// Print at most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Replay {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Those about this call or message
    #[arg(long)]
    sid: Option<String>,
    /// Those given up since this time (2026-11-24T08:00:00Z) or age (2h, 3d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// Asks a running server.
///
/// # Errors
/// The server does not answer, or has no such forward.
pub(super) async fn run(config: Option<PathBuf>, forwards: Forwards) -> anyhow::Result<()> {
    match forwards.command {
        None => list(config, &forwards.admin).await,
        Some(Command::List { admin }) => list(config, &admin).await,
        Some(Command::Waiting(listing)) => changes(config, &listing, "waiting").await,
        Some(Command::GivenUp(listing)) => changes(config, &listing, "given-up").await,
        Some(Command::Replay(replay)) => replayed(config, replay).await,
        Some(Command::Enable(which)) => switch(config, &which, "enable").await,
        Some(Command::Disable(which)) => switch(config, &which, "disable").await,
    }
}

async fn list(config: Option<PathBuf>, admin: &AdminArgs) -> anyhow::Result<()> {
    let answer = admin.client(config)?.json("/api/forwards", &[]).await?;
    if !admin.for_people() {
        return Ok(say(&format!("{answer}\n"))?);
    }
    let forwards = answer["forwards"].as_array().map_or(&[][..], Vec::as_slice);
    if forwards.is_empty() {
        outln!("nothing is forwarded: add a [[forward]] to the configuration");
        return Ok(());
    }
    let now = Clock::System.now();
    let row = |forward: &Value| {
        let lag = time(&forward["behind_since"]).map_or_else(String::new, |at| ago(now.since(at)));
        let [name, behind, waiting, given_up, url] =
            ["name", "behind", "waiting", "given_up", "url"].map(|key| text(&forward[key]));
        [name, state(forward), behind, lag, waiting, given_up, url]
    };
    let rows: Vec<_> = forwards.iter().map(row).collect();
    let names = ["name", "state", "behind", "lag", "waiting", "given up", "url"];
    Ok(say(&table(names, &rows))?)
}

/// In one word or two.
fn state(forward: &Value) -> String {
    let of = |name: &str| text(&forward[name]);
    match forward {
        forward if !forward["disabled"].is_null() => format!("disabled ({})", of("disabled")),
        forward if forward["configured"] == false => "not configured".to_owned(),
        forward if forward["held"] == false => "not running".to_owned(),
        forward if !forward["failing_since"].is_null() => "failing".to_owned(),
        _ => "running".to_owned(),
    }
}

fn tries(number: u64) -> String {
    if number == 1 { "1 try".to_owned() } else { format!("{number} tries") }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(Timestamp::parse_rfc3339)
}

fn ago(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Most lines of one request.
const AT_ONCE: usize = 1000;

async fn changes(config: Option<PathBuf>, listing: &Listing, what: &str) -> anyhow::Result<()> {
    let Listing { which: Which { name, admin }, limit } = listing;
    let (client, path) = (admin.client(config)?, path(name, what));
    let (mut after, mut left) = (0.to_string(), *limit);
    while left > 0 {
        let most = left.min(AT_ONCE).to_string();
        let page = client.json(&path, &[("after", &after), ("limit", &most)]).await?;
        let listed = page["changes"].as_array().map_or(&[][..], Vec::as_slice);
        for change in listed {
            match admin.for_people() {
                true => say(&line(change))?,
                false => say(&format!("{change}\n"))?,
            }
        }
        left -= listed.len().min(left);
        match page["next"].as_i64() {
            Some(next) => after = next.to_string(),
            None => return Ok(()),
        }
    }
    Ok(())
}

fn line(change: &Value) -> String {
    let of = |name: &str| text(&change[name]);
    let replayed = if change["replayed"] == true { "  being sent again" } else { "" };
    let failure = of("failure");
    format!(
        "{:>10}  {:<27}  {:<34}  {}  {failure}{replayed}\n",
        of("change"),
        of("at"),
        of("sid"),
        tries(change["tries"].as_u64().unwrap_or_default())
    )
}

async fn replayed(config: Option<PathBuf>, replay: Replay) -> anyhow::Result<()> {
    let Replay { what, which: Which { name, admin } } = replay;
    let (client, path) = (admin.client(config)?, path(&name, "replay"));
    let asked = match what {
        What { sid: Some(sid), .. } => json!({ "sid": sid }),
        What { since: Some(since), .. } => json!({ "since": since }),
        What { .. } => json!({ "all": true }),
    };
    let mut total = 0;
    loop {
        let done = done(&client, &path, &asked).await?;
        total += done;
        if done == 0 {
            break;
        }
    }
    report(
        &admin,
        &json!({ "done": total }),
        &format!("{} will be sent again", count(total, "change")),
    )
}

async fn switch(config: Option<PathBuf>, which: &Which, what: &str) -> anyhow::Result<()> {
    let Which { name, admin } = which;
    let done = done(&admin.client(config)?, &path(name, what), &json!({})).await?;
    let text = match done {
        0 => format!("{name} was already {what}d"),
        _ => format!("{name} is {what}d"),
    };
    report(admin, &json!({ "done": done }), &text)
}

fn report(admin: &AdminArgs, answer: &Value, text: &str) -> anyhow::Result<()> {
    match admin.for_people() {
        true => outln!("{text}"),
        false => say(&format!("{answer}\n"))?,
    }
    Ok(())
}

async fn done(client: &AdminClient, path: &str, asked: &Value) -> anyhow::Result<u64> {
    client.post(path, asked).await?["done"]
        .as_u64()
        .context("the answer does not say what was done")
}

fn path(name: &str, what: &str) -> String {
    let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("/api/forwards/{name}/{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_forward_is_said_in_a_word() {
        let check = |change: Value, expected: &str| {
            let mut forward = json!({
                "configured": true, "held": true, "disabled": null, "failing_since": null,
            });
            for (name, value) in change.as_object().expect("an object") {
                forward[name] = value.clone();
            }
            assert_eq!(state(&forward), expected);
        };
        check(json!({}), "running");
        check(json!({ "held": false }), "not running");
        check(json!({ "configured": false, "held": false }), "not configured");
        check(json!({ "failing_since": "2026-11-24T08:00:00Z" }), "failing");
        check(json!({ "disabled": "gone", "held": false }), "disabled (gone)");
    }

    #[test]
    fn an_age_is_as_exact_as_it_needs_to_be() {
        let check = |seconds, expected| assert_eq!(ago(Duration::from_secs(seconds)), expected);
        check(0, "0 s");
        check(119, "119 s");
        check(120, "2 min");
        check(7199, "119 min");
        check(7200, "2 h");
        check(900_000, "250 h");
    }

    #[test]
    fn a_name_with_other_characters_stays_within_its_place_in_the_path() {
        assert_eq!(path("app", "enable"), "/api/forwards/app/enable");
        assert_eq!(path("a/b?c", "enable"), "/api/forwards/a%2Fb%3Fc/enable");
    }
}
