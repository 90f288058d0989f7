//! `offhook consents`: who has agreed to be sent marketing; show, add, withdraw, import.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin_client::{AdminClient, SendingArgs};
use super::list_file::{BadLines, Line, ListFile};
use super::output::{say, table, text};
use super::terminal::outln;

/// Entries of one request: as many as the server takes.
const AT_ONCE: usize = 500;
/// Most bytes of the entries of one request, but for the last one: the server takes twice as many.
const MOST_BYTES: usize = 128 * 1024;
/// The columns of a list.
const COLUMNS: [&str; 4] = ["to", "at", "source", "text"];

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what a number or an email address has agreed to, and when
    Show(Which),
    /// Add the consent of a person
    Add {
        #[command(flatten)]
        which: Which,
        /// When the person agreed: 2026-11-24T08:00:00Z
        #[arg(long, value_name = "TIME")]
        at: String,
        /// Where the person agreed, in your own words
        #[arg(long, value_name = "TEXT")]
        source: String,
        /// The text to which the person agreed
        #[arg(long, value_name = "TEXT")]
        text: String,
    },
    /// Withdraw the consent of a person: offhook sends no more marketing to this address
    Withdraw {
        #[command(flatten)]
        which: Which,
        /// When the person withdrew it; default: now
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// Where the person withdrew it, in your own words; default: hand
        #[arg(long, value_name = "TEXT")]
        source: Option<String>,
    },
    /// Add the consents of a list
    ///
    /// The list is CSV with one entry per line. Its first line names the columns: `to` has numbers in E.164 and email
    /// addresses, `at` when the person agreed, `source` where, and `text` to which text. Other columns are ignored. offhook
    /// names the lines that are wrong, and imports the others. You may import a list again.
    Import {
        /// The list; `-` is standard input
        file: PathBuf,
        #[command(flatten)]
        admin: SendingArgs,
    },
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
        Command::Show(Which { number, admin }) => {
            let client = admin.client(config)?;
            show(&client.json("/api/consents", &[("to", &number)]).await?, &admin)
        }
        Command::Add { which, at, source, text } => {
            let body = json!({ "to": which.number, "at": at, "source": source, "text": text });
            change(config, &which.admin, "/api/consents", &body).await
        }
        Command::Withdraw { which, at, source } => {
            let body = json!({ "to": which.number, "at": at, "source": source });
            change(config, &which.admin, "/api/consents/withdraw", &body).await
        }
        Command::Import { file, admin } => {
            let list = ListFile::open(&file, COLUMNS)?;
            if !list.has_all() {
                bail!("its first line must name the columns to, at, source and text");
            }
            import(&admin.client(config)?, list, &admin).await
        }
    }
}

fn show(answer: &Value, admin: &SendingArgs) -> anyhow::Result<()> {
    if !admin.for_people() {
        return Ok(say(&format!("{answer}\n"))?);
    }
    let row = |entry: &Value| {
        let said = if entry["given"] == true { "agreed" } else { "withdrew" };
        [text(&entry["at"]), said.to_owned(), text(&entry["source"]), text(&entry["text"])]
    };
    let rows: Vec<_> = answer["entries"].as_array().into_iter().flatten().map(row).collect();
    say(&table(["at", "the person", "source", "text"], &rows))?;
    outln!("{}", stands(answer));
    Ok(())
}

fn stands(answer: &Value) -> &'static str {
    match answer["consented"] == true {
        true => "marketing may be sent to it",
        false => "no marketing is sent to it",
    }
}

async fn change(
    config: Option<PathBuf>,
    admin: &SendingArgs,
    path: &str,
    body: &Value,
) -> anyhow::Result<()> {
    let answer = admin.client(config)?.post(path, body).await?;
    match admin.for_people() {
        false => say(&format!("{answer}\n"))?,
        true => outln!("{}", stands(&answer)),
    }
    Ok(())
}

/// An import as it goes on.
#[derive(Default)]
struct Import {
    /// Lines that are to be sent, with their numbers.
    lines: Vec<(u64, Value)>,
    bytes: usize,
    added: u64,
    known: u64,
    wrong: BadLines,
}

impl Import {
    fn add(&mut self, line: Line<4>) {
        let [to, at, source, text] = line.fields;
        let entry = json!({ "to": to, "at": at, "source": source, "text": text });
        self.bytes += entry.to_string().len();
        self.lines.push((line.number, entry));
    }

    fn is_full(&self) -> bool {
        self.lines.len() == AT_ONCE || self.bytes >= MOST_BYTES
    }

    async fn send(&mut self, client: &AdminClient) -> anyhow::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let (numbers, entries): (Vec<u64>, Vec<Value>) = self.lines.drain(..).unzip();
        self.bytes = 0;
        let answer = client.post("/api/consents/import", &json!({ "entries": entries })).await?;
        self.added += answer["added"].as_u64().unwrap_or_default();
        self.known += answer["known"].as_u64().unwrap_or_default();
        for refused in answer["refused"].as_array().into_iter().flatten() {
            let place = refused["entry"].as_u64().and_then(|place| usize::try_from(place).ok());
            let line = place.and_then(|place| numbers.get(place)).copied().unwrap_or_default();
            self.wrong.name(line, &text(&refused["reason"]));
        }
        Ok(())
    }
}

async fn import(
    client: &AdminClient,
    list: ListFile<4>,
    admin: &SendingArgs,
) -> anyhow::Result<()> {
    let mut import = Import::default();
    for line in list {
        match line? {
            Ok(line) => import.add(line),
            Err(bad) => import.wrong.name(bad.line, bad.reason),
        }
        if import.is_full() {
            import.send(client).await?;
        }
    }
    import.send(client).await?;
    let Import { added, known, wrong, .. } = import;
    match admin.for_people() {
        true => outln!("addresses with a new consent: {added}; with one that was known: {known}"),
        false => {
            let result = json!({ "added": added, "known": known, "wrong": wrong.count() });
            say(&format!("{result}\n"))?;
        }
    }
    wrong.check()
}
