//! The `offhook` command. All of it is in the library.

use std::process::ExitCode;

use clap::Parser;
use offhook::cli::Cli;

fn main() -> ExitCode {
    // Redis, Postgres and the HTTP client share one TLS library, and this is its cryptography.
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "nothing has run before");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(Cli::parse().run()),
        Err(error) => {
            eprintln!("offhook: the runtime cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
