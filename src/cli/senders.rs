//! `offhook senders`: what holds each sender of a running server, and what may be done about it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin_client::SendingArgs;
use super::output::{say, table, text};
use super::terminal::outln;

/// The arguments.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Senders {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    admin: SendingArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the senders: pace, what is due, what is on its way, pauses
    ///
    /// This is what `offhook senders` does without a command.
    List(All),
    /// Send nothing from a sender until it is resumed
    Pause(Which),
    /// Resume a sender and its account
    Resume(Which),
    /// Send nothing at all, as after a backup was restored
    HoldAll(All),
    /// Release what `hold-all` held
    ResumeAll(All),
    /// Send for this deployment, although the store has sent for another one
    ///
    /// A copy of a production database must not start to send. If the public URL or the accounts of this deployment have
    /// changed, and no other deployment uses the store any more, adopt it.
    Adopt(All),
}

#[derive(Debug, Args)]
struct All {
    #[command(flatten)]
    admin: SendingArgs,
}

#[derive(Debug, Args)]
struct Which {
    /// The name of the sender
    name: String,
    #[command(flatten)]
    admin: SendingArgs,
}

/// Asks a running server.
///
/// # Errors
/// The server does not answer, or has no such sender.
pub(super) async fn run(config: Option<PathBuf>, senders: Senders) -> anyhow::Result<()> {
    match senders.command {
        None => list(config, &senders.admin).await,
        Some(Command::List(All { admin })) => list(config, &admin).await,
        Some(Command::Pause(which)) => one(config, &which, "pause").await,
        Some(Command::Resume(which)) => one(config, &which, "resume").await,
        Some(Command::HoldAll(All { admin })) => all(config, &admin, "hold-all").await,
        Some(Command::ResumeAll(All { admin })) => all(config, &admin, "resume-all").await,
        Some(Command::Adopt(All { admin })) => all(config, &admin, "adopt").await,
    }
}

async fn one(config: Option<PathBuf>, which: &Which, what: &str) -> anyhow::Result<()> {
    let name: String = form_urlencoded::byte_serialize(which.name.as_bytes()).collect();
    act(config, &which.admin, &format!("/api/senders/{name}/{what}")).await
}

async fn all(config: Option<PathBuf>, admin: &SendingArgs, what: &str) -> anyhow::Result<()> {
    act(config, admin, &format!("/api/senders/{what}")).await
}

async fn act(config: Option<PathBuf>, admin: &SendingArgs, path: &str) -> anyhow::Result<()> {
    let answer = admin.client(config)?.post(path, &json!({})).await?;
    match (admin.for_people(), answer["in_writing"].as_u64()) {
        (false, _) => say(&format!("{answer}\n"))?,
        (true, Some(0)) => outln!("held; nothing is on its way"),
        (true, Some(writing)) => outln!("held; on their way, and may still arrive: {writing}"),
        (true, None) if answer["resumed"] == true => outln!("resumed"),
        (true, None) if !answer["held"].is_null() => {
            outln!("held by an operator; let it go on: offhook senders resume-all");
        }
        (true, None) => outln!("nothing was held"),
    }
    Ok(())
}

async fn list(config: Option<PathBuf>, admin: &SendingArgs) -> anyhow::Result<()> {
    let answer = admin.client(config)?.json("/api/senders", &[]).await?;
    if !admin.for_people() {
        return Ok(say(&format!("{answer}\n"))?);
    }
    if !answer["held"].is_null() {
        outln!("nothing is sent: {}", text(&answer["held"]));
    }
    let row = |sender: &Value| {
        let [name, pace, due, held, writing, unknown] =
            ["name", "pace", "due", "held", "writing", "unknown"].map(|key| text(&sender[key]));
        let rate = sender["rate"].as_f64().map_or_else(String::new, |rate| format!("{rate:.2}/s"));
        let calls = match sender["calls"].as_u64() {
            Some(calls) => format!("{calls} of {}", text(&sender["calls_limit"])),
            None => String::new(),
        };
        [name, state(sender), pace, rate, due, held, writing, calls, unknown]
    };
    let rows: Vec<_> = answer["senders"].as_array().into_iter().flatten().map(row).collect();
    let names = ["sender", "state", "pace", "rate", "due", "held", "writing", "calls", "unknown"];
    Ok(say(&table(names, &rows))?)
}

/// In one word or two.
fn state(sender: &Value) -> String {
    let of = |name: &str| text(&sender[name]);
    match sender {
        it if !it["paused"].is_null() => format!("paused ({})", of("paused")),
        it if !it["account_paused"].is_null() => {
            format!("paused (account, {})", of("account_paused"))
        }
        _ => "sends".to_owned(),
    }
}
