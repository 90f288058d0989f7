//! `offhook torture`: faults under load, on private servers, and the proof that nothing was lost.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum as _};
use serde_json::json;

use super::output::Format;
use super::terminal::{errln, outln};
use crate::crash_points::{CAN_BE_NAIVE, CAN_BE_SABOTAGED, Sabotage};
use crate::lab::torture::{Run, Scenario};
use crate::labels::Label as _;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Torture {
    /// List the scenarios, and run none
    #[arg(long)]
    list: bool,
    /// Run only this scenario; may be repeated
    #[arg(long, value_enum, value_name = "NAME", hide_possible_values = true)]
    only: Vec<Scenario>,
    /// How many seconds each scenario injects faults for
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// Let workers mark events before they store them: `lost` must not be 0 then
    #[arg(long, hide = !CAN_BE_NAIVE)]
    naive_workers: bool,
    /// Break the sender in this way: a check must find it
    #[arg(long, value_name = "NAME", value_parser = sabotage, hide = !CAN_BE_SABOTAGED)]
    sabotage: Option<Sabotage>,
    /// Repeat the load and the faults of this seed, as far as the machine allows
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    format: Format,
}

fn sabotage(name: &str) -> Result<Sabotage, String> {
    let names = || Sabotage::all().map(Sabotage::name).collect::<Vec<_>>().join(", ");
    Sabotage::parse(name).ok_or_else(|| format!("it is not one of {}", names()))
}

/// Runs scenarios one after the other, and prints a line of JSON for each.
///
/// # Errors
/// A scenario could not be run, or something was not as it must be.
pub(super) async fn run(torture: Torture) -> anyhow::Result<()> {
    let scenarios = match torture.only.is_empty() {
        true => Scenario::value_variants(),
        false => &torture.only,
    };
    if torture.list {
        for (name, what) in scenarios.iter().map(|scenario| scenario.describe()) {
            let listed = json!({ "scenario": name, "what": what });
            torture.format.print(&listed, |_| format!("{name:20} {what}\n"));
        }
        return Ok(());
    }
    ensure!(
        CAN_BE_NAIVE || !torture.naive_workers,
        "--naive-workers needs a program that was built with `cargo build --features naive-worker`"
    );
    ensure!(
        CAN_BE_SABOTAGED || torture.sabotage.is_none(),
        "--sabotage needs a program that was built with `cargo build --features naive-sender`"
    );
    let home = tempfile::tempdir().context("a temporary directory cannot be made")?;
    let run = Run {
        program: std::env::current_exe().context("the path of this program cannot be found")?,
        home: home.path().to_owned(),
        duration: Duration::from_secs(torture.seconds),
        naive_workers: torture.naive_workers,
        sabotage: torture.sabotage,
        seed: torture.seed.unwrap_or_else(|| rand::random::<u32>().into()),
    };
    let mut bad = Vec::new();
    for scenario in scenarios {
        let (name, what) = scenario.describe();
        errln!("{name}: {what}");
        let report = scenario.run(&run).await.with_context(|| name.clone())?;
        outln!("{report}");
        for failure in report.failures() {
            errln!("{name}: WRONG: {failure}");
        }
        if !report.failures().is_empty() {
            bad.push(name);
        }
    }
    ensure!(bad.is_empty(), "scenarios that failed: {} (seed {})", bad.join(", "), run.seed);
    Ok(())
}
