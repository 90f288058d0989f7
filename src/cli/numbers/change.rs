//! What changes at Twilio, and only after it was read again: what is empty (`--apply`), or what one number has
//! (`--replace`).

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, ensure};
use serde::Serialize;

use super::ask::{Asker, Failure, Found};
use super::fail_if_any;
use super::ours::Ours;
use crate::cli::output::{Format, count, json, say};
use crate::cli::terminal::outln;
use crate::twilio::rest::{Field, Incoming, What};

/// What becomes of one of them, as JSON.
#[derive(Serialize)]
struct Change<'c> {
    account: &'c str,
    what: What,
    sid: &'c str,
    number: Option<&'c str>,
    was: BTreeMap<&'static str, Old<'c>>,
    set: BTreeMap<&'static str, &'c str>,
}

/// What a URL was.
#[derive(Serialize)]
struct Old<'c> {
    url: Option<&'c str>,
    method: Option<&'c str>,
}

impl<'c> Change<'c> {
    fn new(of: &'c Incoming, urls: &[(Field, &'c str)]) -> Self {
        let hooks = urls.iter().filter_map(|(field, _)| of.hook(*field));
        let old = hooks.map(|hook| {
            let old = Old { url: hook.url.as_deref(), method: hook.method.as_deref() };
            (hook.field.as_str(), old)
        });
        Self {
            account: &of.account,
            what: of.what,
            sid: &of.sid,
            number: of.number.as_deref(),
            was: old.collect(),
            set: urls.iter().map(|(field, url)| (field.as_str(), *url)).collect(),
        }
    }

    fn fields(&self) -> String {
        self.set.keys().copied().collect::<Vec<_>>().join(", ")
    }

    /// The command of Twilio's CLI that undoes it.
    fn undo(&self) -> String {
        let mut command = match self.what {
            What::Number => format!(
                "twilio api:core:incoming-phone-numbers:update --account-sid {} --sid {}",
                self.account, self.sid
            ),
            What::MessagingService => {
                format!("twilio api:messaging:v1:services:update --sid {}", self.sid)
            }
        };
        for (name, old) in &self.was {
            let field = Field::ALL.into_iter().find(|field| field.as_str() == *name);
            let method = field.and_then(|field| field.method(self.what)).zip(old.method);
            command.push_str(&format!(
                " \\\n    --{} {}",
                option(name),
                quoted(old.url.unwrap_or(""))
            ));
            if let Some((name, value)) = method {
                command.push_str(&format!(" --{} {}", option(name), quoted(value)));
            }
        }
        command
    }
}

/// The name of an option of Twilio's CLI.
fn option(name: &str) -> String {
    name.replace('_', "-")
}

/// As a shell reads it back.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// After this many failures the next one is expected, and nothing more is tried.
const MOST_FAILURES: usize = 5;

/// Sets what is empty, of all of them.
///
/// # Errors
/// An account cannot be asked, or something cannot be changed. The others are; running it again sets the rest.
pub(super) async fn apply(asker: &Asker<'_>, ours: &Ours, format: Format) -> anyhow::Result<()> {
    let (found, failed) = asker.all().await;
    let (mut urls, mut changed, mut unchanged) = (0, 0, Vec::new());
    for one in found.iter().filter(|one| !ours.missing(&one.incoming).is_empty()) {
        match set_missing(asker, ours, one, format).await {
            Ok(0) => {}
            Ok(set) => (urls, changed) = (urls + set, changed + 1),
            Err(failure) => unchanged.push(format!("{} of {failure}", one.incoming.id())),
        }
        if unchanged.len() == MOST_FAILURES {
            break;
        }
    }
    if !format.json {
        outln!("{} set, of {changed} numbers and Messaging Services", count(urls as u64, "URL"));
    }
    ensure!(unchanged.is_empty(), "not changed:\n  {}", unchanged.join("\n  "));
    fail_if_any(&failed)
}

/// Sets what is empty now: the list may be minutes old. How many URLs that were.
async fn set_missing(
    asker: &Asker<'_>,
    ours: &Ours,
    one: &Found<'_>,
    format: Format,
) -> Result<usize, Failure> {
    let now = asker.now(one).await?;
    let missing = ours.missing(&now);
    if !missing.is_empty() {
        asker.set(one, &missing).await?;
        print_set(format, &Change::new(&now, &missing));
    }
    Ok(missing.len())
}

fn print_set(format: Format, change: &Change<'_>) {
    match format.json {
        true => outln!("{}", json(change)),
        false => outln!("{}: set {}", change.number.unwrap_or(change.sid), change.fields()),
    }
}

/// Sets what one number has, and prints before what it had.
///
/// # Errors
/// No account has it, it cannot be changed, or what it had cannot be printed.
pub(super) async fn replace(
    asker: &Asker<'_>,
    ours: &Ours,
    id: &str,
    format: Format,
) -> anyhow::Result<()> {
    let (found, failed) = asker.find(id).await;
    let Some(one) = found else {
        fail_if_any(&failed)?;
        bail!("no account has {id}: `offhook numbers` lists what they have");
    };
    let failed = |failure: Failure| anyhow!("{id} was not changed. {failure}");
    let now = asker.now(&one).await.map_err(failed)?;
    let different = ours.different(&now);
    if different.is_empty() {
        outln!("{}", nothing_to_do(&one, format));
        return Ok(());
    }
    let change = Change::new(&now, &different);
    let text = match format.json {
        true => json(&change) + "\n",
        false => {
            format!("Before, {id} had other URLs. To restore them:\n\n  {}\n\n", change.undo())
        }
    };
    // What was not printed cannot be restored.
    say(&text).map_err(|error| {
        anyhow!("{id} was not changed: its old URLs cannot be printed: {error}")
    })?;
    asker.set(&one, &different).await.map_err(|failure| {
        anyhow!("{id} may have been changed. {failure}. Look at it: `offhook numbers`")
    })?;
    if !format.json {
        print_set(format, &change);
    }
    Ok(())
}

fn nothing_to_do(one: &Found<'_>, format: Format) -> String {
    match format.json {
        true => json(&Change::new(&one.incoming, &[])),
        false => format!("{}: nothing to change", one.incoming.id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::rest::Hook;

    #[test]
    fn what_was_there_can_be_restored_from_a_shell() {
        let hook = |field, url: Option<&str>, method: Option<&str>| Hook {
            field,
            url: url.map(str::to_owned),
            method: method.map(str::to_owned),
            overridden_by: None,
        };
        let of = Incoming {
            what: What::Number,
            sid: "PN1".to_owned(),
            account: "AC1".to_owned(),
            number: Some("+15550100".to_owned()),
            name: None,
            hooks: vec![
                hook(Field::VoiceFallbackUrl, Some("https://h.example/it's?a=1&b"), Some("GET")),
                hook(Field::StatusCallback, None, Some("POST")),
            ],
        };
        let urls = [(Field::VoiceFallbackUrl, "https://x"), (Field::StatusCallback, "https://y")];
        let change = Change::new(&of, &urls);
        assert_eq!(
            change.undo(),
            "twilio api:core:incoming-phone-numbers:update --account-sid AC1 --sid PN1 \\\n    \
             --status-callback '' --status-callback-method 'POST' \\\n    \
             --voice-fallback-url 'https://h.example/it'\\''s?a=1&b' --voice-fallback-method 'GET'"
        );
        assert_eq!(change.fields(), "status_callback, voice_fallback_url");
    }
}
