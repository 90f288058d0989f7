//! `offhook completions` and `offhook man`: what a shell and `man` read about the commands.

use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::terminal::{out, outln, say};
use super::{Cli, help};

/// Prints the completions of a shell.
pub(super) fn completions(shell: Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "offhook", &mut text);
    out!("{}", String::from_utf8_lossy(&text));
}

/// Prints the manual page, or writes it and one for each command into a directory.
///
/// # Errors
/// The directory is not there, or a page cannot be written.
pub(super) fn pages(directory: Option<&Path>) -> anyhow::Result<()> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let Some(directory) = directory else {
        return Ok(say(&String::from_utf8_lossy(&page(&program, &program, &[])?))?);
    };
    let shown = directory.display();
    ensure!(directory.is_dir(), "{shown} is not a directory: create it first");
    write_all(&program, &program, &[], directory)
        .with_context(|| format!("the pages cannot be written to {shown}"))?;
    outln!("man -l {}", directory.join("offhook.1").display());
    Ok(())
}

/// Writes the page of a command and those of its subcommands. `above` is its command of the first level, and `words`
/// are what is typed for it behind `offhook`.
fn write_all(
    command: &Command,
    above: &Command,
    words: &[&str],
    directory: &Path,
) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    std::fs::write(directory.join(format!("{name}.1")), page(command, above, words)?)?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        let above = if words.is_empty() { below } else { above };
        write_all(below, above, &[words, &[below.get_name()]].concat(), directory)?;
    }
    Ok(())
}

fn page(command: &Command, above: &Command, words: &[&str]) -> std::io::Result<Vec<u8>> {
    let man = Man::new(command.clone().after_help("").version(env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut rest = Roff::new();
    sections(
        &mut rest,
        &above.get_after_help().map(ToString::to_string).unwrap_or_default(),
        words,
    );
    let uses = help::Uses::of(above.get_name());
    let variables = help::environment(uses, |variable| names(command, variable));
    list(&mut rest, "ENVIRONMENT", &variables);
    list(&mut rest, "FILES", help::files(uses));
    rest.to_writer(&mut text)?;
    man.render_version_section(&mut text)?;
    Ok(text)
}

/// Whether the help of an argument of the command, or of a command below it, names this variable.
fn names(command: &Command, variable: &str) -> bool {
    let named = format!("[env: {variable}]");
    let mut helps = command.get_arguments().filter_map(|argument| argument.get_help());
    helps.any(|help| help.to_string().contains(&named))
        || command.get_subcommands().any(|below| names(below, variable))
}

/// What stands below the options of a help page, section by section.
fn sections(page: &mut Roff, help: &str, words: &[&str]) {
    for section in help.split("\n\n") {
        let Some((heading, body)) = section.split_once(":\n") else { continue };
        let lines = body.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
        page.control("SH", [heading.to_uppercase().as_str()]);
        match heading {
            "Examples" => examples(page, &lines.collect::<Vec<_>>(), words),
            "Exit status" => {
                for (code, meaning) in lines.filter_map(|line| line.split_once("  ")) {
                    page.control("TP", []);
                    page.text([bold(code)]);
                    page.text([roman(meaning)]);
                }
            }
            _ => lines.for_each(|line| {
                page.text([roman(line)]);
            }),
        }
    }
}

/// Those of this very command, where there are any.
fn examples(page: &mut Roff, lines: &[&str], words: &[&str]) {
    let typed = format!("offhook {}", words.join(" "));
    let own: Vec<&str> = lines.iter().copied().filter(|line| line.contains(&typed)).collect();
    page.control("nf", []);
    for line in if own.is_empty() { lines } else { &own } {
        page.text([roman(*line)]);
    }
    page.control("fi", []);
}

fn list(page: &mut Roff, heading: &str, items: &[(&str, &str)]) {
    if items.is_empty() {
        return;
    }
    page.control("SH", [heading]);
    for (name, meaning) in items {
        page.control("TP", []);
        page.text([bold(*name)]);
        page.text([roman(*meaning)]);
    }
}
