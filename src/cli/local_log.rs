//! `offhook local-log`: files of the local log that its disk has spoilt.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};

use super::terminal::outln;
use crate::backend::Action;
use crate::backend::local_log::{Damaged, LocalDeadLetters};
use crate::config::{Config, Role, Sources};

/// The arguments.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the damaged files.
    List,
    /// Append what can be read of damaged files again. What is stored already is not stored twice.
    Replay(Which),
    /// Delete damaged files for good, with what could still be read of them.
    Purge(Which),
}

/// Which ones.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Their names, as `list` prints them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
    /// All that there are now.
    #[arg(long)]
    all: bool,
}

/// Works beside a server and without one: the process that has the log does the rest.
///
/// # Errors
/// A worker has no local log; a file is not there; the disk does not work.
pub(super) async fn run(config: Option<PathBuf>, command: Command) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), Role::All)?;
    let local = config.deployment.dead_letters().local.context("this process has no local log")?;
    match command {
        Command::List => {
            let damaged = local.damaged().await?;
            damaged.iter().for_each(|file| outln!("{}", line(file)));
            outln!("{} damaged files", damaged.len());
            Ok(())
        }
        Command::Replay(which) => act(&local, which, Action::Replay).await,
        Command::Purge(which) => act(&local, which, Action::Purge).await,
    }
}

fn line(file: &Damaged) -> String {
    let Damaged { name, path, events, spoilt } = file;
    format!("{name}  {events} events can be read, {spoilt} bytes are spoilt  {}", path.display())
}

async fn act(local: &LocalDeadLetters, which: Which, action: Action) -> anyhow::Result<()> {
    let names = match which.all {
        true => local.damaged().await?.into_iter().map(|file| file.name).collect(),
        false => which.names,
    };
    let mut missing = 0;
    for name in &names {
        let found = match action {
            Action::Purge => local.purge_damaged(name).await?,
            Action::Replay => local.replay_damaged(name).await?,
        };
        let verb = action.as_str();
        outln!("{verb} {name}: {}", if found { "done" } else { "is not there" });
        missing += usize::from(!found);
    }
    if action == Action::Replay {
        outln!("the server appends them within a second, or when it starts");
    }
    ensure!(missing == 0, "{missing} of {} files are not there", names.len());
    Ok(())
}
