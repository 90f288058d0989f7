//! `offhook campaign create`: streams a list to the server, which plans a campaign from it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use futures_util::stream::{Stream, try_unfold};
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::shown::preflight;
use super::{path, row};
use crate::cli::admin_client::SendingArgs;
use crate::cli::output::{count, say, table, text};
use crate::cli::terminal::outln;

/// Bytes of one piece of the list.
const PIECE: usize = 64 * 1024;

/// The arguments.
#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// The list; `-` is standard input, as CSV
    file: PathBuf,
    /// What it is called
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// Why it is sent: transactional or marketing
    #[arg(long)]
    purpose: String,
    /// The sender; not needed if there is one
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
    /// The route, in place of a sender: its steps, until one is confirmed
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sender", "confirm"])]
    route: Option<String>,
    /// What it says: a template, with the columns of the list as values
    #[arg(long)]
    text: String,
    /// The subject of an email, a template as well
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// The file with an email's text as HTML, a template as well
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// What confirms a call: digit, human or answered; default: the sender's
    #[arg(long, value_name = "WHAT")]
    confirm: Option<String>,
    /// Deadline; nothing is sent after it: 2026-11-24T08:00:00Z; default: a day after its start
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// What to do if it stays unknown whether a message was sent: report or resend
    #[arg(long, value_name = "WHAT")]
    on_unknown: Option<String>,
    /// The most that it may cost, in the currency of the configuration: 250.00
    #[arg(long, value_name = "AMOUNT")]
    cost_cap: Option<String>,
    #[command(flatten)]
    admin: SendingArgs,
}

/// Asks a running server.
///
/// # Errors
/// The list cannot be read, or the server does not answer or refuses it.
pub(super) async fn run(config: Option<PathBuf>, create: Create) -> anyhow::Result<()> {
    let Create { file, name, purpose, text: body, admin, .. } = create;
    let client = admin.client(config)?.patient();
    let html = create.html.as_ref().map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("--html {}", path.display()))
    });
    let fields = [
        ("name", Some(name)),
        ("purpose", Some(purpose)),
        ("text", Some(body)),
        ("sender", create.sender),
        ("route", create.route),
        ("subject", create.subject),
        ("html", html.transpose()?),
        ("confirm", create.confirm),
        ("deadline", create.deadline),
        ("on_unknown", create.on_unknown),
        ("cost_cap", create.cost_cap),
    ];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let form = given.fold(Form::new(), |form, (name, value)| form.text(name, value));
    // The list last: it is read when all else is known.
    let form = form.part("recipients", list(&file).await?);
    let created = client.post_form("/api/campaigns", form).await?;
    let id = text(&created["id"]);
    let checked = client.json(&path(&id, "/preflight"), &[]).await?;
    if !admin.for_people() {
        let mut created = created;
        created["preflight"] = checked;
        return Ok(say(&format!("{created}\n"))?);
    }
    outln!("{id} is a draft: nothing is sent before it is started\n");
    say(&preflight(&checked, &admin))?;
    invalid(&created, &id)?;
    let recipients = text(&checked["recipients"]);
    outln!("\nstart it with: offhook campaign start {id} --recipients {recipients}");
    Ok(())
}

/// The first rows that cannot be sent to.
fn invalid(created: &Value, id: &str) -> anyhow::Result<()> {
    let rows: Vec<_> = created["invalid_rows"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    say(&format!("\n{}", table(["line", "cannot be sent to, since"], &rows)))?;
    let more = created["invalid"].as_u64().unwrap_or_default().saturating_sub(rows.len() as u64);
    if more > 0 {
        outln!("and {}: offhook campaign invalid {id}", count(more, "more row"));
    }
    Ok(())
}

/// The list as a part of the request, read while it is sent.
async fn list(path: &Path) -> anyhow::Result<Part> {
    const STANDARD_INPUT: &str = "/dev/stdin";
    let opened = if path == Path::new("-") { Path::new(STANDARD_INPUT) } else { path };
    let cannot = || format!("{} cannot be read", path.display());
    let file = File::open(opened).await.with_context(cannot)?;
    let about = file.metadata().await.with_context(cannot)?;
    let body = Body::wrap_stream(pieces(file));
    let part = match about.is_file() {
        true => Part::stream_with_length(body, about.len()),
        false => Part::stream(body),
    };
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let kind = match end.to_ascii_lowercase().as_str() {
        "ndjson" | "jsonl" => "application/x-ndjson",
        _ => "text/csv",
    };
    Ok(part.file_name("recipients").mime_str(kind)?)
}

fn pieces(from: File) -> impl Stream<Item = std::io::Result<Bytes>> {
    try_unfold(from, |mut from| async move {
        let mut piece = vec![0; PIECE];
        let read = from.read(&mut piece).await?;
        piece.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(piece), from)))
    })
}
