//! The `offhook` command. All of it is in the library.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use offhook::cli::Cli;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for large pages, which gain nothing here and hold 12 MiB that nobody uses.
    // Where the system has none, it has none.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    // Redis, Postgres and the HTTP client share one TLS library, and this is its cryptography.
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "nothing has run before");
    Cli::parse().run()
}
