//! `offhook numbers`: where the URLs of the accounts' numbers and Messaging Services lead, and how those that are empty
//! come to lead here.

mod ask;
mod change;
mod ours;
mod report;

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;

pub(super) use self::ask::Asker;
use self::ask::Failure;
pub(super) use self::ours::Ours;
use self::report::Report;
use super::output::Format;
use crate::config::{Api, Config, Role, Sources};
use crate::dispatch::country::Number;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Numbers {
    /// Set each empty fallback URL and status callback to this deployment's; the others stay as they are
    #[arg(long, conflicts_with = "replace")]
    apply: bool,
    /// Set the fallback URLs and the status callback of one number (or of a Messaging Service, by its SID) to this
    /// deployment's, even if they are set; the old ones are printed first, with the command that restores them
    #[arg(long, value_name = "NUMBER")]
    replace: Option<String>,
    #[command(flatten)]
    format: Format,
}

/// Lists them, or sets what is asked for.
///
/// # Errors
/// The configuration is wrong, or Twilio does not do what it is asked for.
pub(super) async fn run(config: Option<PathBuf>, numbers: Numbers) -> anyhow::Result<()> {
    let sources = Sources::of_process(config);
    let (config, api) = (Config::load(&sources, Role::All)?, Api::load(&sources)?);
    let (asker, ours) = (Asker::new(&api, config.clock)?, Ours::of(&config));
    let changes = numbers.apply || numbers.replace.is_some();
    ensure!(
        !(changes && api.is_out_of_reach),
        "public_url names this machine, where Twilio cannot reach it: set it to a URL that leads here from outside"
    );
    match numbers.replace {
        Some(number) => {
            ensure!(
                Number::parse(&number).is_some() || number.starts_with("MG"),
                "{number} is neither a number in E.164, such as +15550100, nor the SID of a Messaging Service"
            );
            change::replace(&asker, &ours, &number, numbers.format).await
        }
        None if numbers.apply => change::apply(&asker, &ours, numbers.format).await,
        None => {
            let (found, failed) = asker.all().await;
            let report = Report::new(&found, failed, &ours);
            numbers.format.print(&report, Report::text);
            fail_if_any(&report.failed)
        }
    }
}

/// Ends the command badly if an account could not be asked.
fn fail_if_any(failed: &[Failure]) -> anyhow::Result<()> {
    let lines: Vec<String> = failed.iter().map(ToString::to_string).collect();
    ensure!(lines.is_empty(), "{}", lines.join("\n  "));
    Ok(())
}
