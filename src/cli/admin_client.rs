//! [`AdminClient`]: how commands ask the private listener of a running server.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::multipart::Form;
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::healthcheck;
use super::output::no_answer;
use crate::config::{Config, Role, Sources, variable};
use crate::http::client;

/// Why the server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    detail: String,
}

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The same for what may last as long as the server grants it.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(400);

/// Which server, and how its answer is shown.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    /// The server's private listener; default: admin.listen of the configuration [env: OFFHOOK_ADMIN_URL]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Its token, better set in the environment; default: admin.token [env: OFFHOOK_ADMIN__TOKEN]
    #[arg(long)]
    token: Option<SecretString>,
    /// Print JSON, as it does wherever the output is not a terminal
    #[arg(long)]
    json: bool,
}

impl AdminArgs {
    /// Whether people read the output.
    pub(super) fn for_people(&self) -> bool {
        !self.json && std::io::stdout().is_terminal()
    }

    /// A client of that server. Only without a URL does the configuration have to be complete: an operator's own
    /// machine has none.
    ///
    /// # Errors
    /// The configuration is wrong and needed.
    pub(super) fn client(&self, config: Option<PathBuf>) -> anyhow::Result<AdminClient> {
        let config = Config::load(&Sources::of_process(config), Role::All);
        let (base, configured) = match self.admin.clone().or_else(|| variable("OFFHOOK_ADMIN_URL"))
        {
            Some(url) => (with_scheme(&url), config.ok().and_then(|config| config.admin.token)),
            None => {
                let admin = config
                    .context("name the server with --admin URL, or fix the configuration")?
                    .admin;
                (format!("http://{}", healthcheck::reachable(admin.listen)), admin.token)
            }
        };
        let token =
            self.token.clone().or_else(|| variable("OFFHOOK_ADMIN__TOKEN").map(SecretString::from));
        let (token, token_in) = (token.or(configured), "OFFHOOK_ADMIN__TOKEN");
        Ok(AdminClient { base, token, token_in, patience: ANSWER_TIMEOUT })
    }
}

/// The same, with a token that may ask to send.
#[derive(Debug, Args)]
#[command(mut_arg("token", |token| token.help(
    "A token that may ask to send, better set in the environment; default: the first of [outbound] tokens \
     [env: OFFHOOK_SENDING_TOKEN]"
)))]
pub(super) struct SendingArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

impl SendingArgs {
    /// Whether JSON was asked for.
    pub(super) fn wants_json(&self) -> bool {
        self.admin.json
    }

    /// Whether people read the output.
    pub(super) fn for_people(&self) -> bool {
        self.admin.for_people()
    }

    /// A client of that server.
    ///
    /// # Errors
    /// The configuration is wrong and needed.
    pub(super) fn client(&self, config: Option<PathBuf>) -> anyhow::Result<AdminClient> {
        let client = self.admin.client(config.clone())?;
        let given = self.admin.token.clone();
        let given = given.or_else(|| variable("OFFHOOK_SENDING_TOKEN").map(SecretString::from));
        let configured = || {
            let config = Config::load(&Sources::of_process(config), Role::All).ok()?;
            Some(config.outbound?.tokens.first()?.token.clone())
        };
        let token = given.or_else(configured);
        Ok(AdminClient { token, token_in: "OFFHOOK_SENDING_TOKEN", ..client })
    }
}

/// `admin.listen` has no scheme (`127.0.0.1:8081`), and may be given as it is.
fn with_scheme(url: &str) -> String {
    let url = url.trim();
    let scheme = if url.contains("://") { "" } else { "http://" };
    format!("{scheme}{}", url.trim_end_matches('/'))
}

/// Asks one server's private listener.
#[derive(Debug)]
pub(super) struct AdminClient {
    base: String,
    token: Option<SecretString>,
    /// The variable that the token may be in.
    token_in: &'static str,
    /// Longest wait for an answer.
    patience: Duration,
}

impl AdminClient {
    /// The same for what takes the server long: each recipient of a campaign is read.
    pub(super) fn patient(self) -> Self {
        Self { patience: LONGEST_TIMEOUT, ..self }
    }

    /// JSON of one of its routes.
    ///
    /// # Errors
    /// There is no answer, or it is a problem, whose detail the error is.
    pub(super) async fn json(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = client::new(self.patience)?.get(self.url(path, query));
        let text = self.send(request).await?.text().await?;
        serde_json::from_str(&text).with_context(|| self.other())
    }

    /// An answer that lasts until the server ends it, with what came after the id `last`.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn stream(
        &self,
        path: &str,
        query: &[(&str, &str)],
        last: Option<&str>,
    ) -> anyhow::Result<Response> {
        // Longer than the server lets a client watch.
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
        let request = client::new(self.patience)?.post(self.url(path, &[]));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let text = self.send(request).await?.text().await?;
        serde_json::from_str(&text).with_context(|| self.other())
    }

    /// The same, once for each key.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn post_once(
        &self,
        path: &str,
        body: &Value,
        key: &str,
    ) -> anyhow::Result<Value> {
        let request = client::new(self.patience)?.post(self.url(path, &[]));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let text = self.send(request.header("idempotency-key", key)).await?.text().await?;
        serde_json::from_str(&text).with_context(|| self.other())
    }

    /// JSON that one of its routes answers to a form, which may be long.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn post_form(&self, path: &str, form: Form) -> anyhow::Result<Value> {
        let request = client::new(self.patience)?.post(self.url(path, &[]));
        let text = self.send(request.multipart(form)).await?.text().await?;
        serde_json::from_str(&text).with_context(|| self.other())
    }

    fn other(&self) -> String {
        format!("{} does not answer with JSON: it is not offhook's private listener", self.base)
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        if query.is_empty() {
            return format!("{}{path}", self.base);
        }
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(query);
        format!("{}{path}?{}", self.base, pairs.finish())
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let answer = request.send().await.map_err(|error| {
            anyhow::anyhow!(
                "no answer from {}: {}; start the server there, or name another one with --admin URL",
                self.base,
                no_answer(&error)
            )
        })?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status @ StatusCode::UNAUTHORIZED => {
                let (base, token_in) = (&self.base, self.token_in);
                let detail = format!("{base} wants its token: set {token_in}, or add --token");
                Err(Refused { status, detail }.into())
            }
            status => {
                let problem = answer.text().await.unwrap_or_default();
                let problem: Value = serde_json::from_str(&problem).unwrap_or_default();
                let detail = match problem["detail"].as_str() {
                    Some(detail) => detail.to_owned(),
                    None => format!("{} answered {status}", self.base),
                };
                Err(Refused { status, detail }.into())
            }
        }
    }
}
