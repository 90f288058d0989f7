//! `offhook purge`: deletes the data of a person, an account or a time, for good.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::admin_client::{AdminArgs, AdminClient};
use super::output::{count, say};
use super::terminal::{can_ask, confirm, errln, progress};

const PLACES: [&str; 6] =
    ["notifications", "events", "statuses", "dead_letters", "spool", IN_WRITING];
/// What stays for now.
const IN_WRITING: &str = "in_writing";

/// The arguments.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
pub(super) struct Purge {
    /// Everything about this SID
    #[arg(long, group = "what")]
    sid: Option<String>,
    /// Calls and messages from or to this number or address, what belongs to them, and every other event that has
    /// it among its parameters
    #[arg(long, group = "what")]
    number: Option<String>,
    /// Everything that this account signed
    #[arg(long, value_name = "SID", group = "what")]
    account: Option<String>,
    /// What came before this time (2026-11-24T08:00:00Z) or age (2h, 400d); a status counts by its last change
    #[arg(long, value_name = "TIME", group = "what")]
    before: Option<String>,
    /// Only print how much would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Delete without asking
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks the server, which alone may write the embedded store, and has its spool.
///
/// # Errors
/// The server does not answer, or the answer to the question is not yes.
pub(super) async fn run(config: Option<PathBuf>, purge: Purge) -> anyhow::Result<()> {
    let sure = purge.yes || purge.dry_run;
    if !sure {
        can_ask()?;
    }
    let admin = purge.admin.client(config)?;
    if !sure {
        let would = purge.walk(&admin, true).await?;
        errln!("{}{}", table(&would), left(&would));
        confirm("Delete all of it for good?")?;
    }
    let purged = purge.walk(&admin, purge.dry_run).await?;
    Ok(say(&match purge.admin.for_people() {
        true => format!("{}{}", table(&purged), left(&purged)),
        false => format!("{purged}\n"),
    })?)
}

impl Purge {
    /// Asks again and again until there is no more, and adds up what was said.
    async fn walk(&self, admin: &AdminClient, dry_run: bool) -> anyhow::Result<Value> {
        let mut wanted = json!({
            "sid": self.sid, "number": self.number, "account": self.account, "before": self.before,
            "dry_run": dry_run,
        });
        let mut sums = [0; PLACES.len()];
        let progress = Progress(std::io::stderr().is_terminal());
        loop {
            let mut answer = admin.post("/api/purge", &wanted).await?;
            for (sum, place) in sums.iter_mut().zip(PLACES) {
                *sum += answer[place].as_u64().unwrap_or_default();
                answer[place] = (*sum).into();
            }
            let Some(next) = answer["next"].as_str() else {
                progress.end();
                return Ok(answer);
            };
            progress.say(next, sums.iter().sum());
            wanted["after"] = next.into();
            wanted["before"] = answer["before"].clone();
        }
    }
}

/// One line on stderr that is written over: how far the rows were looked at, and what was found.
struct Progress(bool);

impl Progress {
    fn say(&self, next: &str, found: u64) {
        if self.0 {
            let (place, after) = next.split_once(':').unwrap_or_default();
            let at = after.get(..19).unwrap_or_default();
            progress(&format!("{} {at}  {found} found", place.replace('_', " ")));
        }
    }

    fn end(&self) {
        if self.0 {
            let _ = std::io::stderr().write_all(b"\x1b[K");
        }
    }
}

fn table(purged: &Value) -> String {
    let what = if purged["dry_run"] == true { "would be deleted" } else { "deleted" };
    let line = |place: &str| {
        let name = place.replace('_', " ");
        format!("{name:<13} {:>9} {what}\n", purged[place].as_u64().unwrap_or_default())
    };
    PLACES.into_iter().filter(|place| *place != IN_WRITING).map(line).collect()
}

/// What it could not look into.
fn left(purged: &Value) -> String {
    let masked = match purged["masked"] == true {
        true => {
            "\nNumbers are masked or dropped here ([privacy]), so what was stored since cannot be found by its \
             number. Select it with --sid or --before.\n"
        }
        false => "",
    };
    let in_writing = match purged[IN_WRITING].as_u64().unwrap_or_default() {
        0 => String::new(),
        some => format!(
            "\n{} being sent at this moment: run this again in a minute.\n",
            match some {
                1 => "1 notification is".to_owned(),
                some => format!("{some} notifications are"),
            }
        ),
    };
    format!("{masked}{in_writing}{}", waiting(purged))
}

fn waiting(purged: &Value) -> String {
    let waiting = &purged["waiting"];
    let [stream, spool] = ["stream", "spool"].map(|place| waiting[place].as_u64().unwrap_or(0));
    if stream + spool == 0 {
        return String::new();
    }
    format!(
        "\n{} in the stream and {} in this server's spool are not stored yet, and were not looked at. \
         Run this again once they are.\n",
        count(stream, "event"),
        count(spool, "event")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_left() {
        let waiting = json!({ "stream": 2, "spool": 0 });
        let purged = json!({ "events": 12, "dry_run": true, "waiting": waiting });
        assert!(table(&purged).contains("\nevents               12 would be deleted\n"));
        assert!(left(&purged).contains("2 events in the stream and 0 events in"));
        let nothing = json!({ "waiting": { "stream": 0, "spool": 0 } });
        assert_eq!(left(&nothing), "");
        let masked = json!({ "masked": true, "waiting": { "stream": 0, "spool": 0 } });
        assert!(left(&masked).contains("--sid"));
    }
}
