//! The public URL: whether Twilio can get there, and whether offhook is what answers.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Response, StatusCode};

use super::Finding;
use crate::cli::callback_url::Urls;
use crate::client;
use crate::config::Config;

const SUBJECT: &str = "public URL";
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks as anybody on the internet may ask: without a signature, which offhook refuses in its own way.
pub(super) async fn look(config: &Config, balancer_idle_s: u32) -> Vec<Finding> {
    let urls = Urls::of(config);
    let mut findings = vec![host(config.public_url.as_str())];
    findings.push(match client::new(PATIENCE) {
        Ok(client) => match client.get(&urls.status).send().await {
            Ok(answer) => answered(answer).await,
            Err(error) => unreachable(&error),
        },
        Err(error) => Finding::failure(SUBJECT, format!("{error:#}"), "install ca-certificates"),
    });
    findings.push(Finding::ok(SUBJECT, format!("give Twilio {}", urls.status)));
    findings.push(idle(Duration::from_millis(config.inbound.idle_timeout_ms), balancer_idle_s));
    findings
}

fn host(url: &str) -> Finding {
    let rest = url.split("://").nth(1).unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let loopback = name == "localhost" || name.starts_with("127.") || name == "[::1]";
    if loopback {
        let fix = "set public_url to the address that Twilio is given";
        return Finding::warning(SUBJECT, format!("{url} is this machine alone"), fix);
    }
    if name.contains('_') {
        let fix = "give the host a name without an underscore: Twilio rejects those";
        return Finding::failure(SUBJECT, format!("{name} has an underscore"), fix);
    }
    if !url.to_ascii_lowercase().starts_with("https://") {
        let fix = "let the load balancer take https://, and say so in public_url and to Twilio";
        return Finding::warning(SUBJECT, "numbers and texts come in the clear, over http", fix);
    }
    Finding::ok(SUBJECT, url)
}

/// What an unsigned request was answered with.
async fn answered(answer: Response) -> Finding {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let said = |what: &str| format!("{status} to an unsigned request: {what}");
    match status {
        StatusCode::BAD_REQUEST if text.contains("missing_signature") => {
            Finding::ok(SUBJECT, "offhook answers there, and refuses what is not signed")
        }
        StatusCode::NOT_FOUND => Finding::failure(
            SUBJECT,
            said("the path does not lead to offhook"),
            "if the balancer takes a part off the path, put it into public_url; if it does not, into \
             inbound.path_prefix",
        ),
        status if status.is_redirection() => Finding::failure(
            SUBJECT,
            said("it leads elsewhere"),
            "give Twilio the URL where that ends: it signs the one that it was given",
        ),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Finding::failure(
                SUBJECT,
                said("the balancer finds no receiver"),
                "start one, and let the balancer send to inbound.listen",
            )
        }
        _ => Finding::failure(
            SUBJECT,
            said("something else than offhook answers"),
            "look at what stands before it: a firewall, a login, another server",
        ),
    }
}

fn unreachable(error: &reqwest::Error) -> Finding {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    // The first says the URL, which is known, and the last what is wrong.
    let cause = causes.pop().unwrap_or_default();
    let lower = causes.join(" ").to_lowercase() + &cause.to_lowercase();
    let fix = if lower.contains("certificate") {
        "Twilio wants a certificate of a public authority, for this name, with its whole chain"
    } else if lower.contains("dns") || lower.contains("lookup") {
        "make an entry in DNS for the host, or mend the one in public_url"
    } else if error.is_timeout() {
        "open the port in the firewall, and see whether the balancer waits for something"
    } else {
        "start what should listen there, or mend public_url"
    };
    Finding::failure(SUBJECT, format!("no answer: {cause}"), fix)
}

/// Whoever closes an idle connection first must not be us: the balancer would send into it.
fn idle(ours: Duration, balancer_s: u32) -> Finding {
    let ours = ours.as_secs();
    if ours > u64::from(balancer_s) {
        let text = format!("idle connections stay for {ours} s, the balancer's for {balancer_s} s");
        return Finding::ok("keep-alive", text);
    }
    Finding::failure(
        "keep-alive",
        format!("idle connections are closed after {ours} s, the balancer's after {balancer_s} s"),
        "set inbound.idle_timeout_ms above the balancer's time, or else some requests get a 502 \
         (--balancer-idle says what it is)",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_host_that_twilio_cannot_use_is_found() {
        let verdict = |url: &str| host(url).verdict;
        assert_eq!(verdict("https://hooks.example.com/path"), Verdict::Ok);
        assert_eq!(verdict("http://hooks.example.com"), Verdict::Warning);
        assert_eq!(verdict("https://my_hooks.example.com:8443"), Verdict::Failure);
        assert_eq!(verdict("https://user@localhost:1"), Verdict::Warning);
        assert_eq!(verdict("https://[::1]:1"), Verdict::Warning);
    }

    #[test]
    fn the_balancer_must_close_first() {
        assert_eq!(idle(Duration::from_secs(75), 60).verdict, Verdict::Ok);
        assert_eq!(idle(Duration::from_secs(60), 60).verdict, Verdict::Failure);
    }
}
