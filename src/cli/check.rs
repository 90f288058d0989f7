//! `offhook check`: what the configuration means, without its secrets.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::callback_url::Urls;
use super::output::{Format, count, json as line};
use super::terminal::outln;
use crate::backend::local_log::{absolute, volatile};
use crate::config::{Config, ConfigError, Deployment, Role, Sources};
use crate::outbound;
use crate::twilio::keyring::{Account, Secret};
use crate::twilio::privacy::Treatments;
use crate::upkeep::retention::Config as Ages;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// What the process would do
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
    #[command(flatten)]
    format: Format,
}

/// Reads the configuration as `serve` would, and prints what it means.
///
/// # Errors
/// The configuration is wrong; the error is that of `serve`.
pub(super) fn run(config: Option<PathBuf>, check: &Check) -> anyhow::Result<()> {
    match Config::load(&Sources::of_process(config), check.role) {
        Ok(config) => {
            check.format.print(&Meaning::of(&config), Meaning::describe);
            Ok(())
        }
        Err(error) => {
            if check.format.json {
                outln!("{}", line(&json!({ "good": false, "error": Problem::of(&error) })));
            }
            Err(error.into())
        }
    }
}

/// What a configuration means. URLs of stores are left out: they may hold passwords.
#[derive(Serialize)]
struct Meaning {
    good: bool,
    warnings: Vec<Problem>,
    deployment: &'static str,
    /// Null where a process has no other role than all.
    role: Option<&'static str>,
    #[serde(skip)]
    mode: String,
    urls: Urls,
    /// Called numbers with TwiML of their own.
    fallback_numbers: usize,
    inbound_listen: String,
    health_path: Option<String>,
    admin_listen: String,
    admin_token: bool,
    accounts: Vec<Signer>,
    /// The file of the embedded store.
    store_file: Option<String>,
    stream: Option<StreamNames>,
    local_log: Option<Directory>,
    migrate_at_start: bool,
    retention_days: RetentionDays,
    privacy: Kept,
    /// The share of requests that is traced; null if none is.
    traced_share: Option<f64>,
    forwards: Vec<Forward>,
    senders: Vec<SenderLine>,
    /// Where a sender is configured.
    campaigns: Option<Limits>,
}

/// What is wrong, or most likely not meant.
#[derive(Serialize)]
struct Problem {
    key: String,
    origin: String,
    problem: String,
}

#[derive(Serialize)]
struct Signer {
    sid: String,
    name: String,
    auth_tokens: usize,
    /// Their ids.
    shared_keys: Vec<String>,
}

#[derive(Serialize)]
struct StreamNames {
    key: String,
    group: String,
}

#[derive(Serialize)]
struct Directory {
    directory: String,
    /// Why what is there may not outlive the process.
    warning: Option<&'static str>,
}

/// Null is for ever.
#[derive(Serialize)]
struct RetentionDays {
    events: Option<u64>,
    statuses: Option<u64>,
    changes: Option<u64>,
    dead_letters: Option<u64>,
}

#[derive(Serialize)]
struct Kept {
    numbers: String,
    names: String,
    bodies: String,
}

/// Without credentials and the query, which the display of a target leaves out.
#[derive(Serialize)]
struct Forward {
    name: String,
    url: String,
    form: &'static str,
}

/// Without its number, and without its credentials.
#[derive(Serialize)]
struct SenderLine {
    name: String,
    kind: &'static str,
    account: String,
    pace: String,
    /// Units per second of the pace.
    rate: f64,
}

/// What a campaign may be at most.
#[derive(Serialize)]
struct Limits {
    max_recipients: u64,
    /// With its currency.
    max_cost: Option<String>,
}

impl Limits {
    fn of(config: &outbound::Config) -> Self {
        let limits = &config.campaigns;
        let max_cost = limits.max_cost.map(|cost| format!("{cost} {}", limits.currency));
        Self { max_recipients: limits.max_recipients, max_cost }
    }
}

impl SenderLine {
    fn of(config: &outbound::Config) -> Vec<Self> {
        let lines = config.senders.iter().map(|sender| Self {
            name: sender.name.clone(),
            kind: sender.kind.as_str(),
            account: sender.account.clone(),
            pace: sender.pace.clone(),
            rate: config.pace(sender).rate.get(),
        });
        lines.collect()
    }
}

impl Problem {
    fn of(ConfigError { key, origin, problem }: &ConfigError) -> Self {
        Self { key: key.clone(), origin: origin.to_string(), problem: problem.clone() }
    }
}

impl Signer {
    fn of(account: &Account) -> Self {
        let (shared, tokens): (Vec<&Secret>, Vec<&Secret>) =
            account.secrets().iter().partition(|secret| secret.is_shared());
        Self {
            sid: account.sid().to_owned(),
            name: account.name().to_owned(),
            auth_tokens: tokens.len(),
            shared_keys: shared.into_iter().map(|key| key.id().to_owned()).collect(),
        }
    }
}

impl RetentionDays {
    fn of(ages: Ages) -> Self {
        let days = |age: Option<Duration>| age.map(|age| age.as_secs() / (24 * 60 * 60));
        Self {
            events: days(ages.events),
            statuses: days(ages.statuses),
            changes: days(ages.changes),
            dead_letters: days(ages.dead_letters),
        }
    }
}

impl Meaning {
    fn of(config: &Config) -> Self {
        let deployment = &config.deployment;
        let Treatments { numbers, names, bodies } = config.privacy.treatments();
        let forwards = config.forwards.iter().map(|forward| Forward {
            name: forward.name.clone(),
            url: forward.target.to_string(),
            form: forward.form.as_str(),
        });
        Self {
            good: true,
            warnings: config.warnings.iter().map(Problem::of).collect(),
            deployment: deployment.name(),
            role: match deployment {
                Deployment::Scaled(scaled) => Some(scaled.role.as_str()),
                Deployment::Sender { .. } => Some(Role::Sender.as_str()),
                Deployment::Embedded { .. } | Deployment::Direct { .. } => None,
            },
            mode: mode(deployment, config.outbound.is_some()),
            urls: Urls::without_password(config),
            fallback_numbers: config.fallback.numbers.len(),
            inbound_listen: config.inbound.listen.to_string(),
            health_path: config.inbound.health_path.as_str().map(str::to_owned),
            admin_listen: config.admin.listen.to_string(),
            admin_token: config.admin.token.is_some(),
            accounts: config.keyring.accounts().iter().map(Signer::of).collect(),
            store_file: match deployment {
                Deployment::Embedded { store, .. } => Some(store.clone()),
                Deployment::Direct { .. } | Deployment::Scaled(_) | Deployment::Sender { .. } => {
                    None
                }
            },
            stream: match deployment {
                Deployment::Scaled(scaled) => Some(StreamNames {
                    key: scaled.names.stream.to_string(),
                    group: scaled.names.group.to_string(),
                }),
                Deployment::Embedded { .. }
                | Deployment::Direct { .. }
                | Deployment::Sender { .. } => None,
            },
            local_log: deployment.local_log().map(|log| Directory {
                directory: absolute(&log.directory).display().to_string(),
                warning: volatile(&log.directory),
            }),
            migrate_at_start: config.migrate,
            retention_days: RetentionDays::of(config.retention),
            privacy: Kept {
                numbers: numbers.to_string(),
                names: names.to_string(),
                bodies: bodies.to_string(),
            },
            traced_share: config.traces.as_ref().map(|traces| traces.sample_ratio),
            forwards: forwards.collect(),
            senders: config.outbound.as_ref().map(SenderLine::of).unwrap_or_default(),
            campaigns: config.outbound.as_ref().map(Limits::of),
        }
    }

    /// One fact a line.
    fn describe(&self) -> String {
        let mut lines = vec![match self.warnings.len() {
            0 => "the configuration is good".to_owned(),
            many => format!("the configuration is good, with {}", count(many as u64, "warning")),
        }];
        lines.extend(self.warnings.iter().map(|Problem { key, origin, problem }| {
            format!("warning: {key} ({origin}): {problem}")
        }));
        let mut fact = |name: &str, value: String| {
            lines.push(format!("{name:<19} {value}").trim_end().to_owned());
        };
        let Urls {
            status,
            incoming_message,
            voice_fallback,
            sms_fallback,
            event_streams,
            debugger,
        } = &self.urls;
        fact("", String::new());
        for (name, url) in [
            ("status callbacks", status),
            ("incoming messages", incoming_message),
            ("event streams", event_streams),
            ("debugger", debugger),
            ("voice fallback", voice_fallback),
            ("SMS fallback", sms_fallback),
        ] {
            fact(name, url.clone());
        }
        let own = count(self.fallback_numbers as u64, "number");
        fact("fallback TwiML", format!("{own} with TwiML of their own"));
        fact("", String::new());
        let probed = self.health_path.as_deref().unwrap_or("nowhere");
        fact("public listener", format!("{}, load balancers probe {probed}", self.inbound_listen));
        let token = if self.admin_token { "with a token" } else { "without a token" };
        fact("admin listener", format!("{}, {token}", self.admin_listen));
        for Signer { sid, name, auth_tokens, shared_keys } in &self.accounts {
            let (keys, ids) = (shared_keys.len(), shared_keys.join(", "));
            let secrets = format!("auth tokens {auth_tokens}, shared keys {keys} {ids}");
            fact("account", format!("{sid} ({name}): {secrets}"));
        }
        fact("deployment", self.mode.clone());
        if let Some(file) = &self.store_file {
            fact("store", file.clone());
        }
        if let Some(StreamNames { key, group }) = &self.stream {
            fact("stream", format!("{key}, group {group}"));
        }
        if let Some(Directory { directory, warning }) = &self.local_log {
            let warning = warning.map(|why| format!(" (warning: {why})")).unwrap_or_default();
            fact("local log", format!("{directory}{warning}"));
        }
        let migrate = if self.migrate_at_start { "yes" } else { "no: run `offhook migrate`" };
        fact("migrate at start", migrate.to_owned());
        let days = |days: Option<u64>| match days {
            Some(days) => count(days, "day"),
            None => "for ever".to_owned(),
        };
        let RetentionDays { events, statuses, changes, dead_letters } = self.retention_days;
        let (events, statuses, changes) = (days(events), days(statuses), days(changes));
        let letters = days(dead_letters);
        fact(
            "kept",
            format!(
                "events {events}, statuses {statuses}, changes {changes}, dead letters {letters}"
            ),
        );
        let Kept { numbers, names, bodies } = &self.privacy;
        fact("privacy", format!("numbers {numbers}, names {names}, bodies {bodies}"));
        let traces = self.traced_share.map(|share| format!("share of requests {share}"));
        fact("traces", traces.unwrap_or_else(|| "none".to_owned()));
        for Forward { name, url, form } in &self.forwards {
            fact("forward", format!("{name} to {url}, form {form}"));
        }
        for SenderLine { name, kind, account, pace, rate } in &self.senders {
            fact("sender", format!("{name} ({kind}) of {account}, pace {pace}: {rate}/s"));
        }
        if let Some(Limits { max_recipients, max_cost }) = &self.campaigns {
            let cost = max_cost.as_ref().map(|cost| format!(", {cost}")).unwrap_or_default();
            fact("campaigns", format!("at most {max_recipients} recipients{cost} each"));
        }
        lines.join("\n") + "\n"
    }
}

/// What this process needs and does; whether it also sends depends on whether there is a sender.
fn mode(deployment: &Deployment, has_sender: bool) -> String {
    match deployment {
        Deployment::Embedded { .. } => {
            "embedded: one process and one SQLite file, no services".to_owned()
        }
        Deployment::Direct { .. } => {
            "direct: one process with a local log, and Postgres; no Redis".to_owned()
        }
        Deployment::Sender { .. } => {
            "sender: this process only sends, from a Postgres that it shares".to_owned()
        }
        Deployment::Scaled(scaled) => {
            let does = match scaled.role {
                Role::Receiver => "receives",
                Role::Worker => "stores",
                Role::Sender => "sends",
                Role::All if has_sender => "receives, stores and sends",
                Role::All => "receives and stores",
            };
            format!("scale-out: Redis stream and Postgres; this process {does}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_to_paste_into_twilio_and_no_secret() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = ([127, 0, 0, 1], 8080).into();
        let config = Config::demo(directory.path(), "AC1", "s3cret", at, None).expect("complete");
        let meaning = Meaning::of(&config);
        let text = meaning.describe();
        assert!(text.contains("http://127.0.0.1:8080/status#rc=5&rp=all"), "{text}");
        assert!(text.contains("AC1 (account_1): auth tokens 1"), "{text}");
        assert!(text.contains("kept                events for ever, statuses for ever"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
        let json = line(&meaning);
        assert!(json.contains(r#""deployment":"embedded","role":null"#), "{json}");
        assert!(json.contains(r#""retention_days":{"events":null,"#), "{json}");
        assert!(!json.contains("s3cret"), "{json}");
    }
}
