//! [`Server`]: the private listener of a server that runs, as commands ask it.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::healthcheck;
pub(super) use super::terminal::say;
use crate::client;
use crate::config::{Config, Role, Sources};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Which server, and how its answer is shown.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// The server's private listener; by default that of the configuration.
    #[arg(long, value_name = "URL", env = "OFFHOOK_ADMIN_URL")]
    admin: Option<String>,
    /// Its token; by default that of the configuration.
    #[arg(long, env = "OFFHOOK_ADMIN__TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    /// JSON, as it is whenever the output is no terminal.
    #[arg(long)]
    pub(super) json: bool,
}

impl Asked {
    /// Whether people read the output.
    pub(super) fn for_people(&self) -> bool {
        !self.json && std::io::stdout().is_terminal()
    }

    /// The server. Only without a URL does the configuration have to be whole: it is not there on
    /// the machine of somebody who looks from elsewhere.
    ///
    /// # Errors
    /// The configuration is wrong and needed.
    pub(super) fn server(&self, config: Option<PathBuf>) -> anyhow::Result<Server> {
        let config = Config::load(&Sources::of_process(config), Role::All);
        let (base, configured) = match (&self.admin, config) {
            (Some(url), config) => (with_scheme(url), config.ok().and_then(|c| c.admin.token)),
            (None, config) => {
                let admin = config.context("say --admin URL, or fix the configuration")?.admin;
                (format!("http://{}", healthcheck::reachable(admin.listen)), admin.token)
            }
        };
        Ok(Server { base, token: self.token.clone().or(configured) })
    }
}

/// `127.0.0.1:8081` is what `admin.listen` is, and so what people say.
fn with_scheme(url: &str) -> String {
    let scheme = if url.contains("://") { "" } else { "http://" };
    format!("{scheme}{}", url.trim_end_matches('/'))
}

/// A server's private listener.
#[derive(Debug)]
pub(super) struct Server {
    base: String,
    token: Option<SecretString>,
}

impl Server {
    /// JSON of one of its routes.
    ///
    /// # Errors
    /// There is no answer, or it is a problem, whose detail the error is.
    pub(super) async fn json(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = client::new(PATIENCE)?.get(self.url(path, query));
        let text = self.send(request).await?.text().await?;
        serde_json::from_str(&text).with_context(|| format!("{} answers no JSON", self.base))
    }

    /// An answer that goes on until the server ends it, from behind `last` on.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn stream(
        &self,
        path: &str,
        query: &[(&str, &str)],
        last: Option<&str>,
    ) -> anyhow::Result<Response> {
        // Longer than the server lets anybody watch.
        let request = client::new(Duration::from_secs(600))?.get(self.url(path, query));
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        self.send(request).await
    }

    /// JSON that one of its routes answers to JSON.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = client::new(PATIENCE)?.post(self.url(path, &[]));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let text = self.send(request).await?.text().await?;
        serde_json::from_str(&text).with_context(|| format!("{} answers no JSON", self.base))
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(query);
        format!("{}{path}?{}", self.base, pairs.finish())
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let answer = request.send().await.with_context(|| {
            format!("no answer from {}: does the server run, and is that its URL?", self.base)
        })?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED => bail!("{} asks for its token: say --token", self.base),
            status => {
                let problem = answer.text().await.unwrap_or_default();
                let problem: Value = serde_json::from_str(&problem).unwrap_or_default();
                bail!("{}", problem["detail"].as_str().unwrap_or(status.as_str()))
            }
        }
    }
}

/// Whether a command ended since nobody reads any more what it says.
pub(super) fn is_enough(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A value as people read it: text without quotes, nothing for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Rows as columns, below their names.
pub(super) fn table<const N: usize>(names: [&str; N], rows: &[[String; N]]) -> String {
    let names = names.map(str::to_uppercase);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([names[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in std::iter::once(&names).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The time of day with milliseconds, of an RFC 3339 time in UTC.
pub(super) fn time_of_day(value: &Value) -> String {
    value.as_str().and_then(|at| at.get(11..23)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let rows = [["1".to_owned(), "é".to_owned()], ["22".to_owned(), String::new()]];
        assert_eq!(table(["a", "long"], &rows), "A   LONG\n1   é\n22\n");
    }
}
