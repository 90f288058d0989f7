//! The public URL: whether Twilio can get there, and whether offhook is what answers.

use std::time::Duration;

use reqwest::{Response, StatusCode};

use super::Finding;
use crate::cli::callback_url::{Urls, without_password};
use crate::cli::output::no_answer;
use crate::config::Config;
use crate::http::client;

const SUBJECT: &str = "public URL";
/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks as any client on the internet may ask: without a signature, which offhook refuses in its own way.
pub(super) async fn look(config: &Config, balancer_idle_s: Option<u32>) -> Vec<Finding> {
    let urls = Urls::of(config);
    let mut findings = vec![host(&without_password(config.public_url.as_str()))];
    findings.push(match client::new(ANSWER_TIMEOUT) {
        Ok(client) => match client.get(&urls.status).send().await {
            Ok(answer) => answered(answer).await,
            Err(error) => unreachable(&error),
        },
        Err(error) => Finding::failure(SUBJECT, format!("{error:#}"), "install ca-certificates"),
    });
    let shown = Urls::without_password(config).status;
    findings.push(Finding::ok(SUBJECT, format!("give Twilio {shown}")));
    findings.push(Finding::ok(
        SUBJECT,
        "not checked: whether Twilio has the same auth token; a callback from Twilio shows it",
    ));
    findings.push(idle(config.inbound.limits.idle_timeout, balancer_idle_s));
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
        return Finding::warning(
            SUBJECT,
            format!("{url} can only be reached on this machine"),
            fix,
        );
    }
    if name.contains('_') {
        let fix = "give the host a name without an underscore: Twilio rejects those";
        return Finding::failure(SUBJECT, format!("{name} has an underscore"), fix);
    }
    if !url.to_ascii_lowercase().starts_with("https://") {
        let fix = "let the load balancer accept https://, and use that in public_url and at Twilio";
        return Finding::warning(SUBJECT, "numbers and texts travel unencrypted, over http", fix);
    }
    Finding::ok(SUBJECT, url)
}

/// What an unsigned request was answered with.
async fn answered(answer: Response) -> Finding {
    let status = answer.status();
    let location = answer.headers().get("location").and_then(|to| to.to_str().ok());
    let location = location.map_or_else(String::new, |to| format!(", to {to}"));
    let text = answer.text().await.unwrap_or_default();
    let quoted = quoted(&text);
    let said = |what: &str| format!("{status} to an unsigned request: {what}{quoted}");
    if text.contains("plain HTTP request was sent to HTTPS port")
        || text.contains("HTTP request to an HTTPS server")
    {
        let fix = "write https:// into public_url, and give Twilio the same";
        return Finding::failure(SUBJECT, said("its port wants https"), fix);
    }
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
            format!("{status} to an unsigned request: it leads elsewhere{location}"),
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
            said("something other than offhook answers"),
            "look at what stands before it: a firewall, a login, another server",
        ),
    }
}

/// The beginning of what answered in the place of offhook, on one line and without its markup.
fn quoted(text: &str) -> String {
    /// Enough to know it by.
    const MOST: usize = 120;
    let mut plain = String::new();
    let mut markup = false;
    for letter in text.chars() {
        match letter {
            '<' => markup = true,
            '>' if markup => {
                markup = false;
                plain.push(' ');
            }
            _ if markup => {}
            _ => plain.push(letter),
        }
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(MOST).collect();
    if line.is_empty() { line } else { format!(". It says: {line}") }
}

fn unreachable(error: &reqwest::Error) -> Finding {
    let cause = no_answer(error);
    let lower = cause.to_lowercase();
    let fix = if lower.contains("certificate") {
        "Twilio needs a certificate of a public authority, for this name, with its whole chain. SSL_CERT_FILE makes this \
         command trust your own authority; Twilio will not"
    } else if lower.contains("dns") || lower.contains("lookup") {
        "add the host to DNS, or fix it in public_url"
    } else if error.is_timeout() {
        "open the port in the firewall, and look at the balancer"
    } else {
        "start what should listen there, or fix public_url"
    };
    Finding::failure(SUBJECT, format!("no answer: {cause}"), fix)
}

/// The balancer must close an idle connection before offhook does, or it would send into a closing one.
fn idle(ours: Duration, told: Option<u32>) -> Finding {
    /// What most do.
    const USUAL_S: u32 = 60;
    let ours = ours.as_secs();
    let Some(balancer_s) = told else {
        let text = format!(
            "idle connections stay for {ours} s, and most balancers close them after {USUAL_S} s: pass \
             --balancer-idle if yours waits longer"
        );
        return match ours > u64::from(USUAL_S) {
            true => Finding::ok("keep-alive", text),
            false => Finding::failure(
                "keep-alive",
                text,
                "set inbound.idle_timeout_ms above the balancer's time",
            ),
        };
    };
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
        assert_eq!(idle(Duration::from_secs(75), None).verdict, Verdict::Ok);
        assert_eq!(idle(Duration::from_secs(30), None).verdict, Verdict::Failure);
        assert_eq!(idle(Duration::from_secs(75), Some(600)).verdict, Verdict::Failure);
        assert_eq!(idle(Duration::from_secs(75), Some(60)).verdict, Verdict::Ok);
        assert_eq!(idle(Duration::from_secs(60), Some(60)).verdict, Verdict::Failure);
    }

    #[test]
    fn what_answered_is_quoted_without_its_markup() {
        let page =
            "<html>\n<head><title>Sign in</title></head><body class='a'>Who are\nyou?</body>";
        assert_eq!(quoted(page), ". It says: Sign in Who are you?");
        assert_eq!(quoted(""), "");
        assert!(quoted(&"x".repeat(1000)).len() < 140);
    }
}
