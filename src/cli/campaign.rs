//! `offhook campaign`: one text to a list of recipients, by a running server.

mod create;
mod shown;
mod watch;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use self::shown::{list, preflight, shown};
use super::admin_client::{AdminClient, SendingArgs};
use super::output::{say, table, text};
use super::terminal::outln;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Plan a campaign from a list, and print what it would do; nothing is sent before it is started
    ///
    /// The list is CSV, whose first line names the columns, or a JSON object a line (.ndjson, .jsonl). The column `to` has
    /// the numbers in E.164, or the email addresses if only emails are sent; `email`, `time_zone` and `key` may be there.
    /// Each column is a value for the templates, by its name.
    Create(Box<create::Create>),
    /// List campaigns, the newest first
    List {
        /// Only those in this state: planning, draft, running, paused, stopped, cancelled or finished
        #[arg(long)]
        state: Option<String>,
        /// The `next` of the page before
        #[arg(long, value_name = "PLACE")]
        after: Option<String>,
        #[command(flatten)]
        admin: SendingArgs,
    },
    /// Show a campaign, and how far it is
    Show(Which),
    /// Print what a campaign would do: held and refused recipients, the cost, the time, and the worst case
    Preflight(Which),
    /// Start a campaign, given the number of recipients that preflight reports
    Start {
        /// Its id
        id: String,
        /// How many recipients it has
        #[arg(long, value_name = "NUMBER")]
        recipients: u64,
        #[command(flatten)]
        admin: SendingArgs,
    },
    /// Pause a campaign, and print how many messages are on their way
    Pause(Which),
    /// Resume a campaign that is paused or has stopped itself
    Resume(Which),
    /// Cancel a campaign for good, and print how many messages are on their way
    Cancel(Which),
    /// Follow a campaign until each recipient has an outcome
    Watch(Which),
    /// Print what became of each recipient
    Results {
        /// Its id
        id: String,
        /// How they are written; --json is ndjson
        #[arg(long, value_enum, default_value_t = Form::Csv)]
        format: Form,
        #[command(flatten)]
        admin: SendingArgs,
    },
    /// Print the rows of the list that cannot be sent to, and why
    Invalid(Which),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Form {
    Csv,
    Ndjson,
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Its id
    id: String,
    #[command(flatten)]
    admin: SendingArgs,
}

/// Asks a running server.
///
/// # Errors
/// The server does not answer or refuses, or the campaign that is watched has stopped itself.
pub(super) async fn run(config: Option<PathBuf>, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => create::run(config, *create).await,
        Command::List { state, after, admin } => {
            let filters = [("state", &state), ("after", &after)];
            let query: Vec<(&str, &str)> = filters
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.as_deref()?)))
                .collect();
            let answer = admin.client(config)?.patient().json("/api/campaigns", &query).await?;
            Ok(say(&list(&answer, &admin))?)
        }
        Command::Show(Which { id, admin }) => {
            let answer = admin.client(config)?.patient().json(&path(&id, ""), &[]).await?;
            Ok(say(&shown(&answer, &admin))?)
        }
        Command::Preflight(Which { id, admin }) => {
            let answer =
                admin.client(config)?.patient().json(&path(&id, "/preflight"), &[]).await?;
            Ok(say(&preflight(&answer, &admin))?)
        }
        Command::Start { id, recipients, admin } => {
            let asked = json!({ "recipients": recipients });
            let answer = admin.client(config)?.patient().post(&path(&id, "/start"), &asked).await?;
            match admin.for_people() {
                true => outln!(
                    "{}; follow it with: offhook campaign watch {id}",
                    text(&answer["state"])
                ),
                false => say(&format!("{answer}\n"))?,
            }
            Ok(())
        }
        Command::Pause(which) => change(config, which, "/pause").await,
        Command::Resume(which) => change(config, which, "/resume").await,
        Command::Cancel(which) => change(config, which, "/cancel").await,
        Command::Watch(Which { id, admin }) => {
            watch::run(&admin.client(config)?.patient(), &id, &admin).await
        }
        Command::Results { id, format, admin } => {
            let format = match (format, admin.wants_json()) {
                (Form::Csv, false) => "csv",
                (Form::Ndjson, _) | (_, true) => "ndjson",
            };
            results(&admin.client(config)?.patient(), &id, format).await
        }
        Command::Invalid(Which { id, admin }) => {
            invalid(&admin.client(config)?.patient(), &id, &admin).await
        }
    }
}

fn path(id: &str, rest: &str) -> String {
    let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    format!("/api/campaigns/{id}{rest}")
}

async fn change(config: Option<PathBuf>, which: Which, what: &str) -> anyhow::Result<()> {
    let Which { id, admin } = which;
    let answer = admin.client(config)?.patient().post(&path(&id, what), &json!({})).await?;
    match admin.for_people() {
        true => {
            let [state, writing] = ["state", "in_writing"].map(|key| text(&answer[key]));
            outln!("{state}; on their way, and may still arrive: {writing}");
        }
        false => say(&format!("{answer}\n"))?,
    }
    Ok(())
}

/// Prints them as they come, so that their number does not matter.
async fn results(client: &AdminClient, id: &str, format: &str) -> anyhow::Result<()> {
    let mut answer = client.stream(&path(id, "/results"), &[("format", format)], None).await?;
    let mut rest = Vec::new();
    while let Some(bytes) = answer.chunk().await? {
        rest.extend_from_slice(&bytes);
        // A piece may end within a character; a line does not.
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let lines: Vec<u8> = rest.drain(..=end).collect();
        say(&String::from_utf8_lossy(&lines))?;
    }
    Ok(say(&String::from_utf8_lossy(&rest))?)
}

async fn invalid(client: &AdminClient, id: &str, admin: &SendingArgs) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let place = after.to_string();
        let query = [("after", place.as_str()), ("limit", "1000")];
        let answer = client.json(&path(id, "/invalid"), &query).await?;
        let mut rows = answer["rows"].as_array().into_iter().flatten();
        match admin.for_people() {
            true => {
                let rows: Vec<_> = rows.map(row).collect();
                say(&table(["line", "reason"], &rows))?;
            }
            false => rows.try_for_each(|row| say(&format!("{row}\n")))?,
        }
        match answer["next"].as_u64() {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

/// A row that cannot be sent to.
fn row(row: &Value) -> [String; 2] {
    ["line", "reason"].map(|key| text(&row[key]))
}
