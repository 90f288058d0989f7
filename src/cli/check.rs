//! `offhook check`: what the configuration means, with every secret hidden.

use std::path::PathBuf;
use std::time::Duration;

use super::callback_url::Urls;
use super::terminal::out;
use crate::backend::local_log::{absolute, volatile};
use crate::config::{Config, Deployment, LocalLog, Role, Scaled, Sources};
use crate::forward::Config as Forward;
use crate::twilio::keyring::{Account, Secret};
use crate::twilio::privacy::Treatments;
use crate::upkeep::retention::Config as Retention;

/// Reads the configuration as `serve` would, and says what it means.
///
/// # Errors
/// The configuration is wrong; the error is what `serve` would say.
pub(super) fn run(config: Option<PathBuf>, role: Role) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), role)?;
    out!("{}", explain(&config));
    Ok(())
}

/// One fact a line. URLs of stores are left out: they may hold passwords.
fn explain(config: &Config) -> String {
    let urls = Urls::without_password(config);
    let mut lines = vec![match config.warnings.len() {
        0 => "the configuration is good".to_owned(),
        1 => "the configuration can be read, with 1 warning".to_owned(),
        many => format!("the configuration can be read, with {many} warnings"),
    }];
    lines.extend(config.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend([
        String::new(),
        format!("status callbacks    {}", urls.status),
        format!("event streams       {}", urls.event_streams),
        format!("debugger            {}", urls.debugger),
        format!("voice fallback      {}", urls.voice_fallback),
        format!("SMS fallback        {}", urls.sms_fallback),
        format!("  called numbers with TwiML of their own: {}", config.fallback.numbers.len()),
        String::new(),
        format!("public listener     {}, for probes {}", config.inbound.listen, probes(config)),
        format!("admin listener      {}{}", config.admin.listen, token(config)),
    ]);
    lines.extend(config.keyring.accounts().iter().map(account));
    match &config.deployment {
        Deployment::Embedded { store, .. } => {
            lines.push("mode                embedded: this process alone, no services".to_owned());
            lines.push(format!("store               {store}"));
        }
        Deployment::Direct { .. } => lines.push(
            "mode                direct: this process alone, with a local log and Postgres; no Redis"
                .to_owned(),
        ),
        Deployment::Scaled(scaled) => lines.extend(scale_out(scaled)),
    }
    lines.extend(config.deployment.local_log().map(local_log));
    let migrate = if config.migrate { "yes" } else { "no: run `offhook migrate`" };
    lines.push(format!("migrate at start    {migrate}"));
    lines.push(retention(config.retention));
    let Treatments { numbers, names, bodies } = config.privacy.treatments();
    lines.push(format!("privacy             numbers {numbers}, names {names}, bodies {bodies}"));
    lines.push(traces(config));
    lines.extend(config.forwards.iter().map(forward));
    lines.join("\n") + "\n"
}

fn probes(config: &Config) -> &str {
    config.inbound.health_path.as_str().unwrap_or("nowhere")
}

fn token(config: &Config) -> &'static str {
    if config.admin.token.is_some() { ", with a token" } else { ", without a token" }
}

fn account(account: &Account) -> String {
    let (shared, tokens): (Vec<&Secret>, Vec<&Secret>) =
        account.secrets().iter().partition(|secret| secret.is_shared());
    let ids: Vec<&str> = shared.into_iter().map(Secret::id).collect();
    format!(
        "account             {} ({}): auth tokens {}, shared keys {} {}",
        account.sid(),
        account.name(),
        tokens.len(),
        ids.len(),
        ids.join(", "),
    )
    .trim_end()
    .to_owned()
}

fn retention(Retention { events, statuses, changes, dead_letters }: Retention) -> String {
    let days = |age: Option<Duration>| match age {
        Some(age) => format!("{} days", age.as_secs() / (24 * 60 * 60)),
        None => "for ever".to_owned(),
    };
    format!(
        "kept                events {}, statuses {}, changes {}, dead letters {}",
        days(events),
        days(statuses),
        days(changes),
        days(dead_letters)
    )
}

/// Without credentials and the query, which the display of a target leaves out.
fn forward(forward: &Forward) -> String {
    format!(
        "forward             {} to {}, form {}",
        forward.name,
        forward.target,
        forward.form.as_str()
    )
}

/// Without the endpoint, which may hold a token.
fn traces(config: &Config) -> String {
    match &config.traces {
        Some(traces) => format!("traces              share of requests {}", traces.sample_ratio),
        None => "traces              none".to_owned(),
    }
}

fn local_log(log: &LocalLog) -> String {
    let directory = absolute(&log.directory);
    let lasts = volatile(&log.directory).map(|why| format!(" (warning: {why})"));
    format!("local log           {}{}", directory.display(), lasts.unwrap_or_default())
}

fn scale_out(scaled: &Scaled) -> Vec<String> {
    let role = match (scaled.role.receives(), scaled.role.works()) {
        (true, true) => "receives and works",
        (true, false) => "receives",
        _ => "works",
    };
    vec![
        format!("mode                scale-out: Redis stream and Postgres; this process {role}"),
        format!("stream              {}, group {}", scaled.names.stream, scaled.names.group),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_to_paste_into_twilio_and_no_secret() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = ([127, 0, 0, 1], 8080).into();
        let config = Config::demo(directory.path(), "AC1", "s3cret", at).expect("complete");
        let text = explain(&config);
        assert!(text.contains("http://127.0.0.1:8080/status#rc=5&rp=all"), "{text}");
        assert!(text.contains("AC1 (account_1): auth tokens 1"), "{text}");
        assert!(text.contains("kept                events for ever, statuses for ever"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}
