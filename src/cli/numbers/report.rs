//! [`Report`]: the list as it is printed.

use serde::Serialize;

use super::ask::{Failure, Found};
use super::ours::{Ours, Points};
use crate::cli::callback_url::without_password;
use crate::cli::output::{count, table};
use crate::twilio::rest::{Field, Hook, What};

/// All that was found.
#[derive(Serialize)]
pub(super) struct Report {
    found: Vec<Row>,
    /// Fallback URLs and status callbacks that are empty.
    empty: usize,
    pub(super) failed: Vec<Failure>,
}

/// A number or a Messaging Service.
#[derive(Serialize)]
struct Row {
    account: String,
    account_name: String,
    what: What,
    sid: String,
    number: Option<String>,
    name: Option<String>,
    urls: Vec<Url>,
}

#[derive(Serialize)]
struct Url {
    field: Field,
    points: Points,
    /// Without its password.
    url: Option<String>,
    method: Option<String>,
    overridden_by: Option<String>,
}

impl Report {
    pub(super) fn new(found: &[Found<'_>], failed: Vec<Failure>, ours: &Ours) -> Self {
        let empty = found.iter().map(|it| ours.missing(&it.incoming).len()).sum();
        let row = |it: &Found<'_>| Row {
            account: it.account.sid.clone(),
            account_name: it.account.name.clone(),
            what: it.incoming.what,
            sid: it.incoming.sid.clone(),
            number: it.incoming.number.clone(),
            name: it.incoming.name.clone(),
            urls: urls(it, ours),
        };
        Self { found: found.iter().map(row).collect(), empty, failed }
    }

    /// A line for each URL, so that it can be searched.
    pub(super) fn text(&self) -> String {
        let lines = self.found.iter().flat_map(|row| {
            row.urls.iter().map(|url| {
                let id = row.number.as_ref().unwrap_or(&row.sid).clone();
                let leads = url.overridden_by.as_ref().map(|by| format!("by {by}"));
                let leads = leads.or_else(|| url.url.clone()).unwrap_or_default();
                let (field, points) =
                    (url.field.as_str().to_owned(), url.points.as_str().to_owned());
                [row.account_name.clone(), id, field, points, leads]
            })
        });
        let lines: Vec<_> = lines.collect();
        let of = |what| self.found.iter().filter(|row| row.what == what).count() as u64;
        let mut text = table(["account", "number", "field", "points", "url"], &lines);
        text.push_str(&format!(
            "\n{}, {}. ",
            count(of(What::Number), "number"),
            count(of(What::MessagingService), "Messaging Service")
        ));
        text.push_str(&match self.empty {
            0 => "No fallback URL and no status callback is empty.\n".to_owned(),
            empty => format!(
                "Empty fallback URLs and status callbacks: {empty}. `offhook numbers --apply` sets them to this \
                 deployment's.\n"
            ),
        });
        text
    }
}

fn urls(of: &Found<'_>, ours: &Ours) -> Vec<Url> {
    let url = |hook: &Hook| Url {
        field: hook.field,
        points: ours.points(hook),
        url: hook.url.as_deref().map(without_password),
        method: hook.method.clone(),
        overridden_by: hook.overridden_by.clone(),
    };
    of.incoming.hooks.iter().map(url).collect()
}
