//! The command line: one file per command.

mod admin_client;
mod bench;
mod callback_url;
mod changes;
mod check;
mod dead_letters;
mod demo;
mod doctor;
mod forwards;
mod healthcheck;
mod inspect;
mod local_log;
mod manual;
mod migrate;
mod output;
mod purge;
mod secrets;
mod send;
mod serve;
mod stats;
mod tail;
mod terminal;
mod torture;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

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
    Serve(serve::Serve),
    #[command(flatten)]
    Other(Other),
}

/// Everything but the server.
#[derive(Debug, Subcommand)]
enum Other {
    /// Try it without anything: an hour of callbacks in seconds, and what came of them.
    #[command(after_help = "Examples:\n  \
        offhook demo          stays up to be looked at, until Ctrl-C\n  \
        offhook demo --exit   leaves at once; not 0 if anything was wrong")]
    Demo(demo::Demo),
    /// Send one signed callback, to see whether a deployment takes it.
    #[command(after_help = "Examples:\n  \
        offhook send https://hooks.example.com/status --kind message --status delivered\n  \
        offhook send http://127.0.0.1:8080/status --public-url https://hooks.example.com\n\n\
        Exits 0 if the answer is 2xx.")]
    Send(Box<send::Send>),
    /// Measure how many callbacks a server takes, and how fast it answers.
    #[command(after_help = "Examples:\n  \
        offhook bench http://127.0.0.1:8080/status --public-url https://hooks.example.com\n  \
        offhook bench http://127.0.0.1:8080/status --rate 1000 --seconds 60 --store postgres://…\n\n\
        It sends made-up calls and messages that end in the store: not for one in use.")]
    Bench(Box<bench::Bench>),
    /// Explain offline why a signature is right or wrong.
    #[command(after_help = "Example:\n  \
        offhook verify --url https://hooks.example.com/status --signature '…' --body body.txt\n\n\
        Exits 0 and prints the URL and key that match, or 1 and the reason. Never prints a right \
        signature.")]
    Verify(verify::Verify),
    /// What happened to one call or message.
    #[command(after_help = "Example:\n  offhook inspect CA00000000000000000000000000000001")]
    Inspect(inspect::Inspect),
    /// Watch events as they are committed.
    #[command(after_help = "Examples:\n  \
        offhook tail --kind message --status undelivered\n  \
        offhook tail --admin https://offhook.internal.example.com | jq .sid")]
    Tail(tail::Tail),
    /// The change feed: what became of each call and message, in the order in which it was stored.
    #[command(after_help = "Examples:\n  \
        offhook changes --after now --follow\n  \
        offhook changes --json | jq -r 'select(.moved) | [.sid, .current] | @tsv'\n\n\
        Each line ends with its cursor, which --after takes. Whoever acts on changes keeps the last one.")]
    Changes(changes::Changes),
    /// How much of what came, and how the server does.
    #[command(after_help = "Example:\n  offhook stats --since 24h")]
    Stats(stats::Stats),
    /// What no worker could store: list, show, replay, purge.
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            offhook dead-letters list\n  \
            offhook dead-letters replay --all --dry-run"
    )]
    DeadLetters(dead_letters::Command),
    /// What is sent on to other URLs: how each forward stands, what was given up; replay, enable, disable.
    #[command(after_help = "Examples:\n  \
        offhook forwards\n  \
        offhook forwards given-up app\n  \
        offhook forwards replay app --since 2h")]
    Forwards(Box<forwards::Forwards>),
    /// Files of the local log that its disk has spoilt: list, replay, purge.
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            offhook local-log list\n  \
            offhook local-log replay --all"
    )]
    LocalLog(local_log::Command),
    /// Delete what is known of somebody, or of some time, for good.
    #[command(after_help = "Examples:\n  \
        offhook purge --number +15550100 --dry-run\n  \
        offhook purge --before 400d --yes\n\n\
        Whatever is said must hold: --number … --before … is both.")]
    Purge(purge::Purge),
    /// Inject faults under load, on private servers, and prove that nothing is lost.
    #[command(after_help = "Examples:\n  \
        offhook torture --list\n  \
        offhook torture --only worker-kill --only redis-kill --seconds 60\n\n\
        Prints a line of JSON per scenario; exits 0 if nothing was lost, doubled, wrong or extra.")]
    Torture(torture::Torture),
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
    /// Look at a deployment, and say what to mend.
    #[command(after_help = "Example:\n  offhook doctor --role receiver --balancer-idle 60\n\n\
        Exits 0 if nothing failed, warnings aside.")]
    Doctor(doctor::Doctor),
    /// Say which URLs to give to Twilio, and how.
    #[command(after_help = "Examples:\n  \
        offhook callback-url --config /etc/offhook.toml\n  \
        offhook callback-url --own order_id=A-1 --own tenant=7\n  \
        offhook callback-url --snippet python\n\n\
        Parameters of your own come back with every callback, in the column `own`. They go before the\n\
        fragment, sorted and encoded, into the URLs that are about one call or message.")]
    CallbackUrl(callback_url::CallbackUrl),
    /// Exit 0 if the running server is ready.
    #[command(after_help = "Example:\n  HEALTHCHECK CMD [\"offhook\", \"healthcheck\"]")]
    Healthcheck {
        /// What the running process does.
        #[arg(long, value_enum, default_value_t = Role::All)]
        role: Role,
    },
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  \
        offhook completions bash > /etc/bash_completion.d/offhook")]
    Completions {
        /// Which one.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command.
    #[command(after_help = "Examples:\n  \
        offhook man | man -l -\n  \
        offhook man --directory /usr/local/share/man/man1")]
    Man {
        /// Where to write them.
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

impl Cli {
    /// Runs the command.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let config = self.config;
        let result = match self.command {
            // How many threads it has depends on its configuration.
            Command::Serve(serve) => serve::run(config, &serve),
            Command::Other(other) => run_on(&mut Builder::new_multi_thread(), other.run(config)),
        };
        match result {
            Ok(()) if terminal::is_whole() => ExitCode::SUCCESS,
            Ok(()) => {
                terminal::errln!("offhook: not all could be written to standard output");
                ExitCode::FAILURE
            }
            Err(error) if output::is_enough(&error) => ExitCode::SUCCESS,
            Err(error) => {
                terminal::errln!("offhook: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Other {
    async fn run(self, config: Option<PathBuf>) -> anyhow::Result<()> {
        match self {
            Self::Demo(demo) => demo::run(demo).await,
            Self::Send(send) => send::run(config, *send).await,
            Self::Bench(bench) => bench::run(config, *bench).await,
            Self::Verify(verify) => verify::run(config, &verify),
            Self::Inspect(inspect) => inspect::run(config, inspect).await,
            Self::Tail(tail) => tail::run(config, tail).await,
            Self::Changes(changes) => changes::run(config, changes).await,
            Self::Stats(stats) => stats::run(config, stats).await,
            Self::DeadLetters(command) => dead_letters::run(config, command).await,
            Self::Forwards(forwards) => forwards::run(config, *forwards).await,
            Self::LocalLog(command) => local_log::run(config, command).await,
            Self::Purge(purge) => purge::run(config, purge).await,
            Self::Torture(torture) => torture::run(torture).await,
            Self::Migrate => migrate::run(config).await,
            Self::Check { role } => check::run(config, role),
            Self::Doctor(doctor) => doctor::run(config, doctor).await,
            Self::CallbackUrl(wanted) => callback_url::run(config, &wanted),
            Self::Healthcheck { role } => healthcheck::run(config, role).await,
            Self::Completions { shell } => {
                manual::completions(shell);
                Ok(())
            }
            Self::Man { directory } => manual::pages(directory),
        }
    }
}

fn run_on(
    runtime: &mut Builder,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    runtime.enable_all().build().context("the runtime cannot start")?.block_on(work)
}
