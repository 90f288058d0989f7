//! The server that runs with this configuration on this machine: what it reports of itself, by the same list of
//! conditions as the page and the alerts.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::Finding;
use crate::cli::healthcheck::reachable;
use crate::cli::output::text;
use crate::config::Config;
use crate::http::client;

const SUBJECT: &str = "running server";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let address = reachable(config.admin.listen);
    let Ok(client) = client::new(ANSWER_TIMEOUT) else { return Vec::new() };
    let mut request = client.get(format!("http://{address}/api/verdict"));
    if let Some(token) = &config.admin.token {
        request = request.bearer_auth(token.expose_secret());
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(_) => {
            let text = format!(
                "no server answers on {address} (admin.listen), so its own state is not known"
            );
            return vec![Finding::ok(SUBJECT, text)];
        }
    };
    let status = answer.status();
    let body: Value =
        serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default();
    let Some(findings) = body["findings"].as_array().filter(|_| status.is_success()) else {
        let found = format!("what answers on {address} (admin.listen) returns {status}");
        let fix = "check that it is offhook, of this version, with this admin.token";
        return vec![Finding::warning(SUBJECT, found, fix)];
    };
    findings.iter().map(|found| finding(found, &format!("http://{address}"))).collect()
}

fn finding(found: &Value, server: &str) -> Finding {
    let said = text(&found["text"]);
    let fix = match found["help"].as_str() {
        // A page of the server itself.
        Some(help) if help.starts_with('/') => format!("see {server}{help}"),
        Some(help) => format!("see {help}"),
        None => String::new(),
    };
    match found["tone"].as_str() {
        Some("bad") => Finding::failure(SUBJECT, said, fix),
        Some("odd") => Finding::warning(SUBJECT, said, fix),
        _ => Finding::ok(SUBJECT, said),
    }
}
