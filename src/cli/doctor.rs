//! `offhook doctor`: looks at a deployment as somebody would who has seen many, and says what to
//! mend. Every look is bounded, and changes nothing but for one callback, which is a made-up one.

mod disk;
mod files;
mod finding;
mod public;
mod running;
mod store;
mod stream;
mod trial;

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Args;

use self::finding::{Finding, Verdict};
use super::terminal::outln;
use crate::config::{Config, Deployment, Role, Sources};

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Which role to check.
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
    /// After how long the load balancer closes an idle connection, in seconds; most do after 60, Google's
    /// after 600.
    #[arg(long, value_name = "S")]
    balancer_idle: Option<u32>,
    /// Callbacks a second that are expected: says for how long Redis's memory lasts. Default: as of now.
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Send no callback. It would stay in the table of events, as one of kind `other`.
    #[arg(long)]
    no_callback: bool,
}

/// Looks, and prints a line for each thing looked at.
///
/// # Errors
/// Something failed that keeps offhook from its job. A warning is no error.
pub(super) async fn run(config: Option<PathBuf>, doctor: Doctor) -> anyhow::Result<()> {
    let file = config.clone();
    let findings = match Config::load(&Sources::of_process(config), doctor.role) {
        Ok(config) => doctor.look(file.as_deref(), &config).await,
        Err(error) => {
            let fix = "mend that, then ask again: nothing else can be looked at before";
            vec![Finding::failure("configuration", error.to_string(), fix)]
        }
    };
    findings.iter().for_each(|finding| outln!("{finding}"));
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (failures, warnings) = (count(Verdict::Failure), count(Verdict::Warning));
    outln!("\nfailures: {failures}, warnings: {warnings}");
    let checks = if failures == 1 { "check" } else { "checks" };
    ensure!(failures == 0, "{failures} {checks} failed");
    Ok(())
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
            Deployment::Direct { store: url, listen, .. } => {
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
        // One that cannot arrive would only say again what was said.
        let broken = findings.iter().any(|finding| finding.verdict == Verdict::Failure);
        if config.deployment.receives() && !self.no_callback && !broken {
            findings.push(trial::run(config).await);
        }
        findings
    }
}

fn configuration(config: &Config) -> Vec<Finding> {
    let mode = config.deployment.name();
    let text = format!("{mode} mode, accounts: {}", config.keyring.accounts().len());
    let mut findings = vec![Finding::ok("configuration", text)];
    // Each says what to do by itself.
    let warnings = config.warnings.iter();
    findings.extend(warnings.map(|found| Finding::warning("configuration", found.to_string(), "")));
    findings
}
