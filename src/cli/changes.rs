//! `offhook changes`: the change feed of a running server, up to its end or with `--follow` beyond it.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;
use tokio::time::sleep;

use super::admin_client::{AdminArgs, AdminClient, Refused};
use super::kinds;
use super::output::{explain, kind, say, text, time_of_day};
use super::terminal::errln;
use crate::event::Kind;
use crate::retry::Backoff;

/// Changes of one request.
const AT_ONCE: &str = "1000";
/// How long the server waits for the next change: less than the client waits for the server.
const WAIT_S: &str = "10";

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Changes {
    /// Start after the change with this cursor, or at `now`; default: the oldest change that is kept
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// At the end of the feed wait for more, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Only of this kind
    #[arg(long, value_parser = kinds::parser())]
    kind: Option<Kind>,
    /// Only those that report this status
    #[arg(long)]
    status: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Prints a line for each.
///
/// # Errors
/// The server does not answer, or something after the cursor is gone. One that is followed may be away for a while.
pub(super) async fn run(config: Option<PathBuf>, changes: Changes) -> anyhow::Result<()> {
    let admin = changes.admin.client(config)?;
    let mut after = changes.after.clone();
    let mut backoff = Backoff::default();
    let mut began = false;
    loop {
        let page = match changes.page(&admin, after.as_deref(), began).await {
            Ok(page) => page,
            Err(error) if began && changes.follow && may_pass(&error) => {
                errln!("offhook: {}; trying again", explain(&error));
                sleep(backoff.next_wait()).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        backoff.reset();
        began = true;
        let listed = page["changes"].as_array().map_or(&[][..], Vec::as_slice);
        for change in listed {
            match changes.admin.for_people() {
                true => say(&show(change))?,
                false => say(&format!("{change}\n"))?,
            }
        }
        let next = page["next"].as_str().map(str::to_owned);
        if !changes.follow && next == after {
            return Ok(());
        }
        after = next;
    }
}

impl Changes {
    /// The next page; waits for it only once there was one.
    async fn page(
        &self,
        admin: &AdminClient,
        after: Option<&str>,
        may_wait: bool,
    ) -> anyhow::Result<Value> {
        let wanted = [
            ("after", after),
            ("limit", Some(AT_ONCE)),
            ("wait", Some(WAIT_S).filter(|_| may_wait && self.follow)),
            ("kind", self.kind.map(Kind::as_str)),
            ("status", self.status.as_deref()),
        ];
        let query: Vec<_> =
            wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        admin.json("/api/changes", &query).await
    }
}

/// Whether it may be over by itself: the server restarts, or its store is away.
fn may_pass(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_none_or(|refused| refused.status.is_server_error())
}

fn show(change: &Value) -> String {
    let of = |name: &str| text(&change[name]);
    let what = if change["sid"].is_null() { of("key") } else { of("sid") };
    let error = Some(of("error_code")).filter(|code| !code.is_empty());
    let error = error.map(|code| format!("  error {code}")).unwrap_or_default();
    let became = match (of("previous"), of("current")) {
        _ if change["moved"] != true => String::new(),
        (previous, current) if previous.is_empty() => format!("  now {current}"),
        (previous, current) => format!("  {previous} → {current}"),
    };
    let at = time_of_day(&change["stored_at"]);
    format!(
        "{at}  {:<13} {:<12} {what}{became}{error}  {}\n",
        kind(&change["kind"]),
        of("status"),
        of("cursor")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_changed_and_where_to_go_on() {
        let mut change = json!({
            "cursor": "ab.7", "stored_at": "2026-11-24T08:00:01.250000Z", "kind": "call",
            "status": "busy", "sid": "CA1", "key": "CA1-busy", "error_code": null,
            "previous": "ringing", "current": "busy", "moved": true,
        });
        let check = |change: &Value, rest: &str| {
            let line = show(change);
            let begun = "08:00:01.250  call          busy         CA1";
            assert_eq!(line.strip_prefix(begun), Some(&*format!("{rest}  ab.7\n")), "{line}");
        };
        check(&change, "  ringing → busy");
        change["previous"] = Value::Null;
        check(&change, "  now busy");
        (change["moved"], change["error_code"]) = (false.into(), "30003".into());
        check(&change, "  error 30003");
    }
}
