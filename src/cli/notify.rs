//! `offhook notify`: asks a running server to send a message or an email, or to call, and follows it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::admin_client::{AdminClient, SendingArgs};
use super::output::{say, table, text};
use super::terminal::outln;

/// How often `--wait` looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// The arguments.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Notify {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    message: Message,
    #[command(flatten)]
    admin: SendingArgs,
}

#[derive(Debug, Args)]
struct Message {
    /// The number to reach, in E.164: +15550100; an email address where only emails are sent
    #[arg(long, value_name = "NUMBER", required = true)]
    to: Option<String>,
    /// The email address, where a route sends an email beside messages or calls
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// What it says
    #[arg(long, required = true)]
    text: Option<String>,
    /// The subject of an email
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// The file with an email's text as HTML
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A value, by which text, subject and html become templates: NAME=VALUE, the value as JSON or a text; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = value)]
    value: Vec<(String, Value)>,
    /// Why it is sent: alert, otp, transactional or marketing
    #[arg(long, required = true)]
    purpose: Option<String>,
    /// The sender; not needed if there is one
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
    /// The route, in place of a sender: its steps, until one is confirmed
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sender", "confirm"])]
    route: Option<String>,
    /// What confirms a call: digit, human or answered; default: the sender's
    #[arg(long, value_name = "WHAT")]
    confirm: Option<String>,
    /// Deadline; never sent after it: 2026-11-24T08:00:00Z
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// The zone that the recipient is in, for quiet hours: America/New_York
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What to do if it stays unknown whether it was sent: report or resend
    #[arg(long, value_name = "WHAT")]
    on_unknown: Option<String>,
    /// Your own reference, to find it again
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// The idempotency key: the same one sends it once
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Follow it until it is confirmed, failed or unknown
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a notification and its attempts
    Show(Which),
    /// Cancel whatever of a notification has not been sent yet
    Cancel(Which),
    /// List notifications, the newest first
    List {
        /// Only those in this state: open, confirmed, failed, unconfirmed, unknown, refused, expired or cancelled
        #[arg(long)]
        state: Option<String>,
        /// Only those with this reference
        #[arg(long, value_name = "TEXT")]
        reference: Option<String>,
        /// Only those with this route
        #[arg(long, value_name = "NAME")]
        route: Option<String>,
        #[command(flatten)]
        admin: SendingArgs,
    },
    /// List the attempts whose outcome is unknown, the oldest first
    Unknown {
        #[command(flatten)]
        admin: SendingArgs,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// Its id
    id: String,
    #[command(flatten)]
    admin: SendingArgs,
}

/// Asks a running server.
///
/// # Errors
/// The server does not answer, or refuses; with `--wait`, it was not confirmed.
pub(super) async fn run(config: Option<PathBuf>, notify: Notify) -> anyhow::Result<()> {
    match notify.command {
        None => ask(config, notify.message, &notify.admin).await,
        Some(Command::Show(Which { id, admin })) => {
            let answer = admin.client(config)?.json(&path(&id, ""), &[]).await?;
            Ok(say(&shown(&answer, &admin))?)
        }
        Some(Command::Cancel(Which { id, admin })) => {
            let client = admin.client(config)?;
            let answer = client.post(&path(&id, "/cancel"), &json!({})).await?;
            if !admin.for_people() {
                return Ok(say(&format!("{answer}\n"))?);
            }
            let [state, writing, calls] =
                ["state", "in_writing", "hanging_up"].map(|key| text(&answer[key]));
            outln!("{state}; on their way, and may still arrive: {writing}");
            if answer["hanging_up"].as_u64().is_some_and(|calls| calls > 0) {
                outln!("calls that are cancelled, unless they are answered before: {calls}");
            }
            Ok(())
        }
        Some(Command::List { state, reference, route, admin }) => {
            let filters = [("state", &state), ("reference", &reference), ("route", &route)];
            let query: Vec<(&str, &str)> = filters
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.as_deref()?)))
                .collect();
            let answer = admin.client(config)?.json("/api/notifications", &query).await?;
            list(&answer, &admin)
        }
        Some(Command::Unknown { admin }) => {
            let answer = admin.client(config)?.json("/api/attempts/unknown", &[]).await?;
            unknown(&answer, &admin)
        }
    }
}

/// A value of a template by its name. What is not JSON is a text.
fn value(text: &str) -> Result<(String, Value), &'static str> {
    let (name, value) = text.split_once('=').ok_or("it is not NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_owned(), value))
}

fn path(id: &str, rest: &str) -> String {
    let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    format!("/api/notifications/{id}{rest}")
}

async fn ask(config: Option<PathBuf>, message: Message, admin: &SendingArgs) -> anyhow::Result<()> {
    let client = admin.client(config)?;
    let Message { to, text: body, purpose, sender, route, confirm, deadline, on_unknown, .. } =
        message;
    let (time_zone, reference) = (message.time_zone, message.reference);
    let html = message.html.as_ref().map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("--html {}", path.display()))
    });
    let (key, wait) = (message.key, message.wait);
    let optional = [
        ("email", message.email),
        ("subject", message.subject),
        ("html", html.transpose()?),
        ("sender", sender),
        ("route", route),
        ("confirm", confirm),
        ("deadline", deadline),
        ("time_zone", time_zone),
        ("on_unknown", on_unknown),
    ];
    let mut asked = json!({ "to": to, "text": body, "purpose": purpose });
    for (name, value) in optional.into_iter().chain([("reference", reference)]) {
        if let Some(value) = value {
            asked[name] = value.into();
        }
    }
    if !message.value.is_empty() {
        asked["values"] = Value::Object(message.value.into_iter().collect());
    }
    // Repeated by a person or a script after a failure, it must not be sent twice.
    let key = key.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let answer = client.post_once("/api/notifications", &asked, &key).await;
    let answer = answer.with_context(|| format!("try again with --key {key}: it is sent once"))?;
    let id = text(&answer["id"]);
    if !wait {
        return match admin.for_people() {
            true => Ok(say(&format!("{id}\n"))?),
            false => Ok(say(&format!("{answer}\n"))?),
        };
    }
    follow(&client, &id, admin).await
}

/// Prints each change until the notification is settled.
async fn follow(client: &AdminClient, id: &str, admin: &SendingArgs) -> anyhow::Result<()> {
    let (mut last, began) = (String::new(), Instant::now());
    loop {
        let now = client.json(&path(id, ""), &[]).await?;
        let state = text(&now["state"]);
        let attempt = now["attempts"].as_array().and_then(|attempts| attempts.last());
        let has_steps = now["steps"].as_array().is_some_and(|steps| !steps.is_empty());
        let attempt = attempt.map_or_else(String::new, |attempt| {
            let channel = if has_steps { text(&attempt["channel"]) } else { String::new() };
            let [state, held, reason, sid] =
                ["state", "held", "reason", "sid"].map(|key| text(&attempt[key]));
            let parts = [channel, state, held, reason, sid];
            parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
        });
        let line = format!("{state}: {attempt}");
        if line != last {
            match admin.for_people() {
                true => outln!("{:7.2} s  {line}", began.elapsed().as_secs_f64()),
                false => outln!("{now}"),
            }
            last = line;
        }
        match state.as_str() {
            "open" => sleep(LOOK_EVERY).await,
            "confirmed" => return Ok(()),
            other => bail!("{id} is not confirmed: {other} {}", text(&now["reason"])),
        }
    }
}

fn shown(answer: &Value, admin: &SendingArgs) -> String {
    if !admin.for_people() {
        return format!("{answer}\n");
    }
    let mut shown = String::new();
    for key in [
        "id",
        "state",
        "reason",
        "purpose",
        "route",
        "sender",
        "to",
        "reference",
        "created_at",
        "deadline",
    ] {
        shown.push_str(&format!("{key:11} {}\n", text(&answer[key])));
    }
    let step = |step: &Value| {
        ["number", "channel", "sender", "state", "wait_s", "over_at"].map(|key| text(&step[key]))
    };
    let steps: Vec<_> = answer["steps"].as_array().into_iter().flatten().map(step).collect();
    if !steps.is_empty() {
        shown += &table(["step", "by", "sender", "state", "wait_s", "over at"], &steps);
    }
    let row = |attempt: &Value| {
        ["number", "channel", "state", "held", "reason", "tries", "sid", "id"]
            .map(|key| text(&attempt[key]))
    };
    let rows: Vec<_> = answer["attempts"].as_array().into_iter().flatten().map(row).collect();
    let names = ["attempt", "by", "state", "held", "reason", "requests", "sid", "id"];
    shown + &table(names, &rows)
}

fn list(answer: &Value, admin: &SendingArgs) -> anyhow::Result<()> {
    if !admin.for_people() {
        return Ok(say(&format!("{answer}\n"))?);
    }
    let keys = ["id", "state", "reason", "purpose", "sender", "reference", "created_at"];
    let rows = answer["notifications"].as_array().into_iter().flatten();
    let rows: Vec<_> = rows.map(|it| keys.map(|key| text(&it[key]))).collect();
    Ok(say(&table(["id", "state", "reason", "purpose", "sender", "reference", "asked"], &rows))?)
}

fn unknown(answer: &Value, admin: &SendingArgs) -> anyhow::Result<()> {
    if !admin.for_people() {
        return Ok(say(&format!("{answer}\n"))?);
    }
    let keys = ["notification", "attempt", "sender", "written_at", "reason", "looks"];
    let rows: Vec<_> = answer["attempts"].as_array().into_iter().flatten().collect();
    let rows: Vec<_> = rows.into_iter().map(|it| keys.map(|key| text(&it[key]))).collect();
    Ok(say(&table(["notification", "attempt", "sender", "sent", "reason", "looks"], &rows))?)
}
