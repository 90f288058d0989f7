//! The command line: one file per command.

mod admin_client;
mod bench;
mod callback_url;
mod campaign;
mod changes;
mod check;
mod consents;
mod copy;
mod dead_letters;
mod demo;
mod doctor;
mod forwards;
mod healthcheck;
mod help;
mod inspect;
mod kinds;
mod list_file;
mod local_log;
mod manual;
mod migrate;
mod notify;
mod numbers;
mod output;
mod purge;
mod reconcile;
mod secrets;
mod send;
mod senders;
mod serve;
mod simulate;
mod stats;
mod suppressions;
mod tail;
mod terminal;
mod torture;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::config::{ConfigError, Role, variable};

/// Where keys are described when no console is there that would lead to it.
const KEYS: &str =
    concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/reference/configuration.md#keys");

/// Receives Twilio's callbacks: verifies each one, stores it durably, answers 200 within milliseconds
///
/// Settings come from the defaults, from TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, DATABASE_URL and REDIS_URL, from the
/// configuration file, and from OFFHOOK_SECTION__KEY, each overriding those before it.
#[derive(Debug, Parser)]
#[command(version, after_help = help::ALL)]
pub struct Cli {
    /// The configuration file [env: OFFHOOK_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    ///
    /// It runs until SIGTERM or SIGINT, and then finishes what it has accepted, for at most 25 s. SIGHUP has it read its
    /// configuration again.
    #[command(after_help = help::SERVE)]
    Serve(serve::Serve),
    #[command(flatten)]
    Other(Other),
}

/// Everything but the server.
#[derive(Debug, Subcommand)]
enum Other {
    /// Start a temporary server, send it an hour of callbacks, and check what was stored
    ///
    /// It needs no configuration, no service and no account of Twilio, and leaves nothing behind.
    #[command(after_help = help::DEMO)]
    Demo(demo::Demo),
    /// Send one signed callback, and print the answer
    #[command(after_help = help::SEND)]
    Send(Box<send::Send>),
    /// Measure how many callbacks a server takes, and how fast it answers
    #[command(after_help = help::BENCH)]
    Bench(Box<bench::Bench>),
    /// Explain offline why a signature is right or wrong
    #[command(after_help = help::VERIFY)]
    Verify(verify::Verify),
    /// Show what happened to one call or message
    #[command(after_help = help::INSPECT)]
    Inspect(inspect::Inspect),
    /// Print events as they are committed
    #[command(after_help = help::TAIL)]
    Tail(tail::Tail),
    /// Print the change feed: what became of each call and message, in the order of commits
    #[command(after_help = help::CHANGES)]
    Changes(changes::Changes),
    /// Count what was stored, and say how the server is doing
    #[command(after_help = help::STATS)]
    Stats(stats::Stats),
    /// List, show, replay or purge the events that could not be stored
    #[command(subcommand, after_help = help::DEAD_LETTERS)]
    DeadLetters(dead_letters::Command),
    /// Show what is sent on to your own URLs; replay, enable, disable
    #[command(after_help = help::FORWARDS)]
    Forwards(Box<forwards::Forwards>),
    /// Ask the server to send a message, and follow it until it is confirmed
    #[command(after_help = help::NOTIFY)]
    Notify(Box<notify::Notify>),
    /// Send one text to a list of recipients: plan, start, pause, watch, and what became of each
    #[command(subcommand, after_help = help::CAMPAIGN)]
    Campaign(campaign::Command),
    /// Show what holds each sender; pause, resume, hold all, adopt
    #[command(after_help = help::SENDERS)]
    Senders(Box<senders::Senders>),
    /// List the suppressed addresses; add, remove, import, export
    #[command(subcommand, after_help = help::SUPPRESSIONS)]
    Suppressions(suppressions::Command),
    /// Show who has agreed to marketing; add, withdraw, import
    #[command(subcommand, after_help = help::CONSENTS)]
    Consents(consents::Command),
    /// List, replay or purge damaged files of the local log
    #[command(subcommand, after_help = help::LOCAL_LOG)]
    LocalLog(local_log::Command),
    /// Delete the data of a person, an account or a time, for good
    ///
    /// The server deletes it from the store, from the dead letters and from its local log.
    #[command(after_help = help::PURGE)]
    Purge(purge::Purge),
    /// Inject faults under load, on private servers, and prove that nothing is lost
    ///
    /// It starts a Redis, a Postgres and several processes of offhook of its own, and prints a line of JSON for each
    /// scenario.
    #[command(after_help = help::TORTURE)]
    Torture(torture::Torture),
    /// Run a pretend Twilio on this machine, to send messages to without sending any
    ///
    /// It creates, fetches and lists messages as Twilio's REST API does, and reports their statuses by signed callbacks.
    /// With its switches it misbehaves as Twilio and the network between do. It runs until Ctrl-C.
    #[command(after_help = help::SIMULATE)]
    Simulate(Box<simulate::Simulate>),
    /// Bring the store's tables up to date
    ///
    /// Several processes may do so at the same time.
    #[command(after_help = help::MIGRATE)]
    Migrate(migrate::Migrate),
    /// Copy an embedded store into the Postgres of the configuration
    ///
    /// The server of the embedded store must be stopped; the new deployment may be running. A copy that was killed
    /// continues where it stopped. At the end it compares each row.
    #[command(after_help = help::COPY)]
    Copy(copy::Copy),
    /// Explain the configuration, without its secrets
    #[command(after_help = help::CHECK)]
    Check(check::Check),
    /// Examine a deployment, and say what to fix
    ///
    /// It looks at the configuration, the public URL, the stores, the disk and the running server, and changes nothing. If
    /// no check failed, it then sends one made-up callback.
    #[command(after_help = help::DOCTOR)]
    Doctor(doctor::Doctor),
    /// Print the URLs to give to Twilio, and the commands that set them
    #[command(after_help = help::CALLBACK_URL)]
    CallbackUrl(callback_url::CallbackUrl),
    /// List where the URLs of your numbers and Messaging Services lead; set those that are empty
    ///
    /// It asks Twilio, with the credentials of each account. Without an option it changes nothing.
    #[command(after_help = help::NUMBERS)]
    Numbers(numbers::Numbers),
    /// Ask Twilio about calls and messages without a final callback
    ///
    /// A server that sends does so by itself, at the times of outbound.reconcile_after_s.
    #[command(after_help = help::RECONCILE)]
    Reconcile(reconcile::Reconcile),
    /// Ask the running server whether it is ready
    ///
    /// It prints the server's answer, which is JSON.
    #[command(after_help = help::HEALTHCHECK)]
    Healthcheck {
        /// What the running process does
        #[arg(long, value_enum, default_value_t = Role::All)]
        role: Role,
    },
    /// Print completions for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command
    #[command(after_help = help::MAN)]
    Man {
        /// An existing directory, to write a page for each command into
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

impl Cli {
    /// Runs the command.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let config = self.config.or_else(|| variable("OFFHOOK_CONFIG").map(PathBuf::from));
        let result = match self.command {
            // How many threads it has depends on its configuration.
            Command::Serve(serve) => serve::run(config, &serve),
            Command::Other(other) => run_on(&mut Builder::new_multi_thread(), other.run(config)),
        };
        match result {
            Ok(()) if terminal::is_whole() => ExitCode::SUCCESS,
            Ok(()) => {
                terminal::errln!(
                    "offhook: standard output cannot be written: the output is incomplete"
                );
                ExitCode::FAILURE
            }
            Err(error) if output::is_enough(&error) => ExitCode::SUCCESS,
            Err(error) => {
                terminal::errln!("offhook: {}", output::explain(&error));
                if error.chain().any(|cause| cause.is::<ConfigError>()) {
                    terminal::errln!("offhook: every key is described in {KEYS}");
                }
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
            Self::Notify(notify) => notify::run(config, *notify).await,
            Self::Campaign(command) => campaign::run(config, command).await,
            Self::Senders(senders) => senders::run(config, *senders).await,
            Self::Suppressions(command) => suppressions::run(config, command).await,
            Self::Consents(command) => consents::run(config, command).await,
            Self::LocalLog(command) => local_log::run(config, command).await,
            Self::Purge(purge) => purge::run(config, purge).await,
            Self::Torture(torture) => torture::run(torture).await,
            Self::Simulate(simulate) => simulate::run(*simulate).await,
            Self::Migrate(migrate) => migrate::run(config, &migrate).await,
            Self::Copy(copy) => copy::run(config, copy).await,
            Self::Check(check) => check::run(config, &check),
            Self::Doctor(doctor) => doctor::run(config, doctor).await,
            Self::CallbackUrl(wanted) => callback_url::run(config, &wanted),
            Self::Numbers(numbers) => numbers::run(config, numbers).await,
            Self::Reconcile(reconcile) => reconcile::run(config, reconcile).await,
            Self::Healthcheck { role } => healthcheck::run(config, role).await,
            Self::Completions { shell } => {
                manual::completions(shell);
                Ok(())
            }
            Self::Man { directory } => manual::pages(directory.as_deref()),
        }
    }
}

fn run_on(
    runtime: &mut Builder,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    runtime.enable_all().build().context("the runtime cannot start")?.block_on(work)
}
