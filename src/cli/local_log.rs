//! `offhook local-log`: damaged files of the local log.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{Format, count};
use super::terminal::{can_ask, confirm, outln};
use crate::backend::Action;
use crate::backend::local_log::{Damaged, LocalDeadLetters};
use crate::config::{Config, Role, Sources};

/// The arguments.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the damaged files
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Append again what can be read of damaged files; what is stored already is not stored twice
    Replay(Which),
    /// Delete damaged files for good, with what could still be read of them
    Purge {
        /// Delete without asking
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        which: Which,
    },
}

/// Which ones.
#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Their names, as `list` prints them
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// Works beside a server and without one: the process that has the log does the rest.
///
/// # Errors
/// A worker has no local log, a file is not there, or the disk does not work.
pub(super) async fn run(config: Option<PathBuf>, command: Command) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), Role::All)?;
    let local = config.deployment.dead_letters().local.context("this process has no local log")?;
    match command {
        Command::List { format } => list(&local, format).await,
        Command::Replay(which) => resolve(&local, which, Action::Replay).await,
        Command::Purge { yes, which } => {
            if !yes {
                can_ask()?;
                let number = names(&local, &which.what).await?.len() as u64;
                confirm(&format!("Delete {} for good?", count(number, "damaged file")))?;
            }
            resolve(&local, which, Action::Purge).await
        }
    }
}

/// A file in JSON.
#[derive(Serialize)]
struct Listed<'f> {
    name: &'f str,
    path: String,
    events: u64,
    spoilt_bytes: u64,
}

async fn list(local: &LocalDeadLetters, format: Format) -> anyhow::Result<()> {
    let damaged = local.damaged().await?;
    for file in &damaged {
        let Damaged { name, path, events, spoilt } = file;
        let path = path.display().to_string();
        let listed = Listed { name, path, events: *events, spoilt_bytes: *spoilt };
        format.print(&listed, |file| {
            let readable = count(file.events, "readable event");
            format!("{name}  {readable}, {} damaged  {}\n", count(*spoilt, "byte"), file.path)
        });
    }
    if !format.json {
        outln!("{}", count(damaged.len() as u64, "damaged file"));
    }
    Ok(())
}

async fn names(local: &LocalDeadLetters, what: &What) -> anyhow::Result<Vec<String>> {
    Ok(match what.all {
        true => local.damaged().await?.into_iter().map(|file| file.name).collect(),
        false => what.names.clone(),
    })
}

/// What was done.
#[derive(Default, Serialize)]
struct Resolved {
    done: Vec<String>,
    missing: Vec<String>,
}

async fn resolve(local: &LocalDeadLetters, which: Which, action: Action) -> anyhow::Result<()> {
    let mut resolved = Resolved::default();
    for name in names(local, &which.what).await? {
        let found = match action {
            Action::Purge => local.purge_damaged(&name).await?,
            Action::Replay => local.replay_damaged(&name).await?,
        };
        if found { &mut resolved.done } else { &mut resolved.missing }.push(name);
    }
    which.format.print(&resolved, |resolved| describe(resolved, action));
    let (done, missing) = (resolved.done.len() as u64, resolved.missing.len() as u64);
    ensure!(
        missing == 0,
        "{missing} of {} not found: `offhook local-log list` prints the names",
        count(done + missing, "file")
    );
    Ok(())
}

fn describe(resolved: &Resolved, action: Action) -> String {
    let line = |name: &String, said| format!("{} {name}: {said}\n", action.as_str());
    let mut text: String = resolved.done.iter().map(|name| line(name, "done")).collect();
    text.extend(resolved.missing.iter().map(|name| line(name, "is not there")));
    if action == Action::Replay && !resolved.done.is_empty() {
        text.push_str("the server appends them within a second, or when it starts\n");
    }
    text
}
