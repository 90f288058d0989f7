//! `offhook suppressions`: who must not be reached; add, remove, import, export.

mod entry;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::entry::Entry;
use super::admin_client::{AdminClient, SendingArgs};
use super::list_file::{self, BadLines, ListFile};
use super::output::{say, table, text};
use super::terminal::outln;

/// Entries of one request: as many as the server takes.
const AT_ONCE: usize = 500;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the suppressed addresses
    List {
        /// The `next` of the page before
        #[arg(long, value_name = "HASH")]
        after: Option<String>,
        /// Most addresses
        #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        #[command(flatten)]
        admin: SendingArgs,
    },
    /// Suppress a number, on every channel, or an email address
    Add(Which),
    /// Allow messages to a number or an email address again
    Remove(Which),
    /// Suppress every address of a list
    ///
    /// The list is CSV with one entry per line. Its first line names the columns: `to` has numbers in E.164 and email
    /// addresses; if it is empty, `hash` has what an export of the same store wrote. Other columns are ignored. offhook
    /// names the lines that are wrong, and imports the others. You may import a list again.
    Import {
        /// The list; `-` is standard input
        file: PathBuf,
        #[command(flatten)]
        admin: SendingArgs,
    },
    /// Print every suppressed address, as CSV
    ///
    /// Without --json it prints CSV, also where the output is not a terminal.
    Export(All),
}

#[derive(Debug, Args)]
pub(super) struct All {
    #[command(flatten)]
    admin: SendingArgs,
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The number, in E.164: +15550100, or the email address
    number: String,
    #[command(flatten)]
    admin: SendingArgs,
}

/// Asks a running server.
///
/// # Errors
/// The server does not answer or refuses, or a line of the list is wrong.
pub(super) async fn run(config: Option<PathBuf>, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { after, limit, admin } => {
            let client = admin.client(config)?;
            list(&page(&client, after.as_deref(), limit).await?, &admin)
        }
        Command::Add(which) => change(config, &which, "/api/suppressions").await,
        Command::Remove(which) => change(config, &which, "/api/suppressions/lift").await,
        Command::Import { file, admin } => {
            let list = ListFile::open(&file, Entry::COLUMNS)?;
            import(&admin.client(config)?, list, &admin).await
        }
        Command::Export(All { admin }) => export(&admin.client(config)?, &admin).await,
    }
}

async fn page(client: &AdminClient, after: Option<&str>, limit: u32) -> anyhow::Result<Value> {
    let limit = limit.to_string();
    let mut query = vec![("limit", &*limit)];
    query.extend(after.map(|after| ("after", after)));
    client.json("/api/suppressions", &query).await
}

fn list(answer: &Value, admin: &SendingArgs) -> anyhow::Result<()> {
    if !admin.for_people() {
        return Ok(say(&format!("{answer}\n"))?);
    }
    let row = |entry: &Value| {
        let to = match text(&entry["to"]) {
            to if to.is_empty() => format!("(purged) {}", text(&entry["hash"])),
            to => to,
        };
        [to, text(&entry["source"]), text(&entry["at"])]
    };
    let rows: Vec<_> = answer["suppressions"].as_array().into_iter().flatten().map(row).collect();
    say(&table(["address", "source", "since"], &rows))?;
    if let Some(next) = answer["next"].as_str() {
        outln!("more: --after {next}");
    }
    Ok(())
}

async fn change(config: Option<PathBuf>, which: &Which, path: &str) -> anyhow::Result<()> {
    let answer = which.admin.client(config)?.post(path, &json!({ "to": which.number })).await?;
    match (which.admin.for_people(), answer["suppressed"] == true) {
        (false, _) => say(&format!("{answer}\n"))?,
        (true, true) => outln!("nothing is sent to it any more"),
        (true, false) => outln!("messages to it go on"),
    }
    Ok(())
}

/// What an import came to.
#[derive(Default)]
struct Tally {
    added: u64,
    known: u64,
}

impl Tally {
    async fn send(&mut self, client: &AdminClient, entries: &mut Vec<Entry>) -> anyhow::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(entries);
        let entries: Vec<Value> = entries.into_iter().map(Entry::into_json).collect();
        let answer =
            client.post("/api/suppressions/import", &json!({ "entries": entries })).await?;
        self.added += answer["added"].as_u64().unwrap_or_default();
        self.known += answer["known"].as_u64().unwrap_or_default();
        Ok(())
    }
}

async fn import(
    client: &AdminClient,
    list: ListFile<2>,
    admin: &SendingArgs,
) -> anyhow::Result<()> {
    let (mut tally, mut wrong, mut entries) = (Tally::default(), BadLines::default(), Vec::new());
    for line in list {
        match line?.and_then(|line| Entry::of(&line)) {
            Ok(entry) => entries.push(entry),
            Err(bad) => wrong.name(bad.line, bad.reason),
        }
        if entries.len() == AT_ONCE {
            tally.send(client, &mut entries).await?;
        }
    }
    tally.send(client, &mut entries).await?;
    let Tally { added, known } = tally;
    match admin.for_people() {
        true => outln!("addresses that are suppressed now: {added}; that were before: {known}"),
        false => {
            let result = json!({ "added": added, "known": known, "wrong": wrong.count() });
            say(&format!("{result}\n"))?;
        }
    }
    wrong.check()
}

async fn export(client: &AdminClient, admin: &SendingArgs) -> anyhow::Result<()> {
    const COLUMNS: [&str; 4] = ["to", "hash", "source", "at"];
    const PER_PAGE: u32 = 1000;
    if !admin.wants_json() {
        say(&list_file::record(&COLUMNS)?)?;
    }
    let mut after: Option<String> = None;
    loop {
        let answer = page(client, after.as_deref(), PER_PAGE).await?;
        for entry in answer["suppressions"].as_array().into_iter().flatten() {
            match admin.wants_json() {
                true => say(&format!("{entry}\n"))?,
                false => say(&list_file::record(&COLUMNS.map(|column| text(&entry[column])))?)?,
            }
        }
        match answer["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(()),
        }
    }
}
