//! `offhook dead-letters`: the events that could not be stored, to be looked at, replayed or purged.

use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{Format, count, json};
use super::terminal::{can_ask, confirm, outln, say};
use crate::admin::DeadLetterView;
use crate::backend::{Action, DeadLetter, DeadLetters};
use crate::config::{Config, Role, Sources};

/// The arguments.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the dead letters, oldest first
    List {
        /// Print at most this many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        format: Format,
    },
    /// Show one dead letter, with the parameters of its callback
    Show {
        /// Its id, as `list` prints it
        id: String,
        #[command(flatten)]
        format: Format,
    },
    /// Put dead letters back into the log that they came from, once their cause is fixed
    Replay(Which),
    /// Delete dead letters for good
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
    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Their ids, as `list` prints them
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// Asks the backend itself, so that it works while no server runs. Those of a receiver's local log are
/// among them where its directory is.
///
/// # Errors
/// The backend does not answer, or an id is not there.
pub(super) async fn run(config: Option<PathBuf>, command: Command) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), Role::All)?;
    let letters = config.deployment.dead_letters();
    let ended = match command {
        Command::List { limit, format } => list(&letters, limit, format).await,
        Command::Show { id, format } => show(&letters, &id, format).await,
        Command::Replay(which) => resolve(&letters, which, Action::Replay).await,
        Command::Purge { yes, which } => purge(&letters, which, yes).await,
    };
    ended.map_err(|error| match error.downcast::<crate::backend::BackendError>() {
        Ok(error) => anyhow!("dead letters cannot be read: {error}; {}", fix(&letters)),
        Err(other) => other,
    })
}

/// What to do about a backend that does not answer.
fn fix(letters: &DeadLetters) -> &'static str {
    match letters.stream {
        Some(_) => "start Redis, or fix REDIS_URL (stream.url)",
        None => "look at the directory of the local log, which `offhook check` names",
    }
}

async fn list(letters: &DeadLetters, limit: usize, format: Format) -> anyhow::Result<()> {
    let (mut after, mut left) = (None, limit);
    while left > 0 {
        let page = letters.list(after.as_deref(), left).await?;
        let Some(last) = page.last() else { break };
        (after, left) = (Some(last.id.clone()), left - page.len());
        let line = |letter: DeadLetter| match format.json {
            true => json(&DeadLetterView::of(letter)),
            false => line(&letter),
        };
        say(&page.into_iter().map(|letter| line(letter) + "\n").collect::<String>())?;
    }
    if !format.json {
        let all = letters.count().await?;
        outln!("{} of {}", limit - left, count(all, "dead letter"));
    }
    Ok(())
}

fn line(letter: &DeadLetter) -> String {
    let key = letter.event.as_ref().map_or("(not an event)", |event| event.key.as_str());
    format!("{}  {}  {key}  {}", letter.id, letter.at, letter.reason)
}

async fn show(letters: &DeadLetters, id: &str, format: Format) -> anyhow::Result<()> {
    let letter = letters.get(id).await?.with_context(|| {
        format!("there is no dead letter {id}: `offhook dead-letters list` prints the ids")
    })?;
    format.print(&DeadLetterView::whole(letter.clone()), |_| describe(&letter));
    Ok(())
}

fn describe(letter: &DeadLetter) -> String {
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

async fn purge(letters: &DeadLetters, which: Which, yes: bool) -> anyhow::Result<()> {
    if !yes && !which.dry_run {
        can_ask()?;
        let number = match which.what.all {
            true => letters.count().await?,
            false => which.what.ids.len() as u64,
        };
        confirm(&format!("Delete {} for good?", count(number, "dead letter")))?;
    }
    resolve(letters, which, Action::Purge).await
}

/// What was done, or would be.
#[derive(Debug, Default, Serialize)]
struct Resolved {
    done: Vec<String>,
    missing: Vec<String>,
    dry_run: bool,
}

async fn resolve(letters: &DeadLetters, which: Which, action: Action) -> anyhow::Result<()> {
    let Which { what, dry_run, format } = which;
    let ids = if what.all { all(letters).await? } else { what.ids };
    let mut resolved = Resolved { dry_run, ..Resolved::default() };
    for id in ids {
        let found = match dry_run {
            true => letters.get(&id).await?.is_some(),
            false => letters.resolve(&id, action).await?,
        };
        if !format.json {
            let said = match (found, dry_run) {
                (true, false) => "done",
                (true, true) => "would be done",
                (false, _) => "is not there",
            };
            outln!("{} {id}: {said}", action.as_str());
        }
        if found { &mut resolved.done } else { &mut resolved.missing }.push(id);
    }
    let (done, missing) = (resolved.done.len() as u64, resolved.missing.len() as u64);
    format.print(&resolved, |_| format!("{done} of {}\n", count(done + missing, "dead letter")));
    ensure!(
        missing == 0,
        "{missing} of {} not found: `offhook dead-letters list` prints the ids",
        count(done + missing, "dead letter")
    );
    Ok(())
}

/// Those that are there now, without what is put aside meanwhile.
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
