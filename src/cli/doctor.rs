//! `offhook doctor`: examines a deployment, and says what to fix. Each check is bounded, and changes nothing. If none
//! failed, it then sends one made-up callback.

mod calls;
mod disk;
mod files;
mod finding;
mod numbers;
mod public;
mod running;
mod sending;
mod store;
mod stream;
mod trial;

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use self::finding::{Finding, Verdict};
use super::output::{Format, count};
use crate::config::{Config, Deployment, Role, Sources};

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Which role to check
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
    /// After how many seconds the load balancer closes an idle connection; most do after 60, Google's after 600
    #[arg(long, value_name = "S")]
    balancer_idle: Option<u32>,
    /// Callbacks a second to expect, for how long Redis's memory lasts; default: the rate right now
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Send no callback; it would stay in the table `events`, with the kind `other`
    #[arg(long)]
    no_callback: bool,
    #[command(flatten)]
    format: Format,
}

/// Prints a line for each check.
///
/// # Errors
/// A check failed. A warning is not an error.
pub(super) async fn run(config: Option<PathBuf>, doctor: Doctor) -> anyhow::Result<()> {
    let file = config.clone();
    let findings = match Config::load(&Sources::of_process(config), doctor.role) {
        Ok(config) => doctor.look(file.as_deref(), &config).await,
        Err(error) => {
            let fix = "fix that first, then run this again: nothing else can be checked before";
            vec![Finding::failure("configuration", error.to_string(), fix)]
        }
    };
    let of = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (failures, warnings) = (of(Verdict::Failure), of(Verdict::Warning));
    let report = Report { findings, failures, warnings };
    doctor.format.print(&report, |report| {
        let lines: String = report.findings.iter().map(|finding| format!("{finding}\n")).collect();
        format!("{lines}\nfailures: {failures}, warnings: {warnings}\n")
    });
    ensure!(failures == 0, "{} failed", count(failures as u64, "check"));
    Ok(())
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    findings: Vec<Finding>,
    failures: usize,
    warnings: usize,
}

impl Doctor {
    async fn look(&self, file: Option<&Path>, config: &Config) -> Vec<Finding> {
        let mut findings = configuration(config);
        findings.extend(files::look(file, config));
        // Before anything is sent to it.
        findings.extend(running::look(config).await);
        if config.deployment.receives() {
            findings.extend(public::look(config, self.balancer_idle).await);
        }
        match &config.deployment {
            Deployment::Embedded { store, .. } => findings.extend(disk::look_at_store(store)),
            Deployment::Direct { store: url, listen, .. }
            | Deployment::Sender { store: url, listen } => {
                findings.extend(store::look(url, listen.as_ref(), config).await);
            }
            Deployment::Scaled(scaled) => {
                let (stream, store) = tokio::join!(
                    stream::look(scaled, self.rate),
                    store::look(&scaled.store, scaled.listen.as_ref(), config)
                );
                findings.extend(stream);
                findings.extend(store);
            }
        }
        findings.extend(config.deployment.local_log().into_iter().flat_map(disk::look_at_log));
        let sends = config.outbound.as_ref().filter(|_| config.deployment.sends());
        if let Some(sending) = sends {
            findings.extend(sending::look(sending, config.clock).await);
            findings.extend(calls::look(sending).await);
            findings.extend(numbers::look(file, config).await);
        }
        // A callback that cannot arrive would only repeat a failure.
        let broken = findings.iter().any(|finding| finding.verdict == Verdict::Failure);
        let wants_callbacks = config.deployment.receives() || sends.is_some();
        if wants_callbacks && !self.no_callback && !broken {
            findings.push(trial::run(config).await);
        }
        findings
    }
}

fn configuration(config: &Config) -> Vec<Finding> {
    let deployment = config.deployment.name();
    let text = format!("{deployment} deployment, accounts: {}", config.keyring.accounts().len());
    let mut findings = vec![Finding::ok("configuration", text)];
    // Each has its fix in its own text.
    let warnings = config.warnings.iter();
    findings.extend(warnings.map(|found| Finding::warning("configuration", found.to_string(), "")));
    findings
}
