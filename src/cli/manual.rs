//! `offhook completions` and `offhook man`: what a shell and `man` read about the commands.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// Prints the completions of a shell.
pub(super) fn completions(shell: Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "offhook", &mut io::stdout());
}

/// Prints the manual page, or writes it and one for each command into a directory.
///
/// # Errors
/// They cannot be written.
pub(super) fn pages(directory: Option<PathBuf>) -> anyhow::Result<()> {
    match directory {
        None => Ok(clap_mangen::Man::new(Cli::command()).render(&mut io::stdout())?),
        Some(directory) => write(&directory).context(directory.display().to_string()),
    }
}

fn write(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Cli::command(), directory)?;
    println!("man -l {}", directory.join("offhook.1").display());
    Ok(())
}
