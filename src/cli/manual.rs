//! `offhook completions` and `offhook man`: what a shell and `man` read about the commands.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::terminal::{out, outln, say};

/// Prints the completions of a shell.
pub(super) fn completions(shell: Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "offhook", &mut text);
    out!("{}", String::from_utf8_lossy(&text));
}

/// Prints the manual page, or writes it and one for each command into a directory.
///
/// # Errors
/// They cannot be written.
pub(super) fn pages(directory: Option<PathBuf>) -> anyhow::Result<()> {
    match directory {
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text)?;
            Ok(say(&String::from_utf8_lossy(&text))?)
        }
        Some(directory) => write(&directory).context(directory.display().to_string()),
    }
}

fn write(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Cli::command(), directory)?;
    outln!("man -l {}", directory.join("offhook.1").display());
    Ok(())
}
