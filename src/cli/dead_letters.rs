//! `offhook dead-letters`: what no worker could store, to be looked at, replayed or purged.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};

use super::terminal::{out, outln, say};
use crate::backend::{Action, DeadLetter, DeadLetters};
use crate::config::{Config, Role, Sources};

/// The arguments.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List them, oldest first.
    List {
        /// Most lines.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one whole. It holds what a caller or a recipient sent.
    Show {
        /// Its id, as `list` prints it.
        id: String,
    },
    /// Put them back into the log that they came from, once their reason is mended.
    Replay(Which),
    /// Delete them for good.
    Purge(Which),
}

/// Which ones.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Their ids, as `list` prints them.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All that there are now.
    #[arg(long)]
    all: bool,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

/// Asks the backend itself, so that it works while no server runs. Those of a receiver's local log are
/// among them where its directory is.
///
/// # Errors
/// A backend that does not answer; an id that is not there.
pub(super) async fn run(config: Option<PathBuf>, command: Command) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), Role::All)?;
    let letters = config.deployment.dead_letters();
    match command {
        Command::List { limit } => list(&letters, limit).await,
        Command::Show { id } => {
            let letter = letters.get(&id).await?;
            out!("{}", show(&letter.with_context(|| format!("there is no dead letter {id}"))?));
            Ok(())
        }
        Command::Replay(which) => resolve(&letters, which, Action::Replay).await,
        Command::Purge(which) => resolve(&letters, which, Action::Purge).await,
    }
}

async fn list(letters: &DeadLetters, limit: usize) -> anyhow::Result<()> {
    let (mut after, mut left) = (None, limit);
    while left > 0 {
        let page = letters.list(after.as_deref(), left).await?;
        let Some(last) = page.last() else { break };
        (after, left) = (Some(last.id.clone()), left - page.len());
        say(&page.iter().map(|letter| line(letter) + "\n").collect::<String>())?;
    }
    let all = letters.count().await?;
    outln!("{} of {all} dead letters", limit - left);
    Ok(())
}

fn line(letter: &DeadLetter) -> String {
    let key = letter.event.as_ref().map_or("(no event)", |event| event.key.as_str());
    format!("{}  {}  {key}  {}", letter.id, letter.at, letter.reason)
}

fn show(letter: &DeadLetter) -> String {
    let mut lines = vec![
        format!("id          {}", letter.id),
        format!("put aside   {}", letter.at),
        format!("deliveries  {}", letter.deliveries),
        format!("reason      {}", letter.reason),
    ];
    lines.extend(letter.fields.iter().map(|(name, value)| {
        format!("  {:<11} {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    }));
    lines.join("\n") + "\n"
}

async fn resolve(letters: &DeadLetters, which: Which, action: Action) -> anyhow::Result<()> {
    let ids = if which.all { all(letters).await? } else { which.ids };
    let verb = action.as_str();
    let (total, mut missing) = (ids.len(), 0);
    for id in ids {
        let found = match which.dry_run {
            true => letters.get(&id).await?.is_some(),
            false => letters.resolve(&id, action).await?,
        };
        let said = match (found, which.dry_run) {
            (true, false) => "done",
            (true, true) => "would be done",
            (false, _) => "is not there",
        };
        outln!("{verb} {id}: {said}");
        missing += usize::from(!found);
    }
    outln!("{} of {total}", total - missing);
    ensure!(missing == 0, "{missing} of {total} dead letters are not there");
    Ok(())
}

/// Those that are there now: what is put aside meanwhile is not meant.
async fn all(letters: &DeadLetters) -> anyhow::Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    loop {
        let page = letters.list(ids.last().map(String::as_str), DeadLetters::PER_PAGE).await?;
        if page.is_empty() {
            return Ok(ids);
        }
        ids.extend(page.into_iter().map(|letter| letter.id));
    }
}
