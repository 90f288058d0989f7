//! The command line: one file per command.

mod check;
mod client;
mod healthcheck;
mod migrate;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Role;

/// Receives Twilio's callbacks: verified, durable, answered within milliseconds.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// The configuration file; without one, the environment and the defaults.
    #[arg(long, global = true, env = "OFFHOOK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    #[command(after_help = "Example:\n  offhook serve --config /etc/offhook.toml --role receiver")]
    Serve {
        /// What this process does, in the scale-out mode.
        #[arg(long, value_enum, default_value_t = Role::All)]
        role: Role,
    },
    /// Bring the store's tables up to date.
    #[command(after_help = "Example:\n  DATABASE_URL=postgres://… offhook migrate")]
    Migrate,
    /// Say what the configuration means, without its secrets.
    #[command(after_help = "Example:\n  offhook check --config /etc/offhook.toml")]
    Check {
        /// What the process would do.
        #[arg(long, value_enum, default_value_t = Role::All)]
        role: Role,
    },
    /// Exit 0 if the running server is ready.
    #[command(after_help = "Example:\n  HEALTHCHECK CMD [\"offhook\", \"healthcheck\"]")]
    Healthcheck {
        /// What the running process does.
        #[arg(long, value_enum, default_value_t = Role::All)]
        role: Role,
    },
}

impl Cli {
    /// Runs the command.
    pub async fn run(self) -> ExitCode {
        let config = self.config;
        let result = match self.command {
            Command::Serve { role } => serve::run(config, role).await,
            Command::Migrate => migrate::run(config).await,
            Command::Check { role } => check::run(config, role),
            Command::Healthcheck { role } => healthcheck::run(config, role).await,
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("offhook: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}
