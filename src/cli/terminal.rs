//! What the commands print and ask. A reader that has had enough, as `head` has, ends a command without a failure.
//! Control characters in values, which may come from any sender, do nothing to a terminal.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether something could not be printed for another reason than that nobody reads any more.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Prints on standard output, as `print!` does, and without its panics.
macro_rules! out {
    ($($argument:tt)*) => { $crate::cli::terminal::to_out(format_args!($($argument)*)) };
}

/// The same, with a line end.
macro_rules! outln {
    ($($argument:tt)*) => {
        $crate::cli::terminal::to_out(format_args!("{}\n", format_args!($($argument)*)))
    };
}

/// Prints on standard error, with a line end.
macro_rules! errln {
    ($($argument:tt)*) => {
        $crate::cli::terminal::to_err(format_args!("{}\n", format_args!($($argument)*)))
    };
}

pub(super) use {errln, out, outln};

/// What `out!` prints. The command goes on where nobody reads it: its work, and its exit code, count.
pub(super) fn to_out(text: Arguments<'_>) {
    if let Err(error) = say(&text.to_string()) {
        note(&error);
    }
}

/// What `errln!` prints.
pub(super) fn to_err(text: Arguments<'_>) {
    let (mut to, text) = (io::stderr().lock(), text.to_string());
    let shown = if to.is_terminal() { printable(&text) } else { text };
    // There is no other place to say so.
    let _ = to.write_all(shown.as_bytes());
}

/// Writes over the line of standard error that shows how far a command is.
pub(super) fn progress(line: &str) {
    let _ = write!(io::stderr().lock(), "{}\x1b[K\r", printable(line));
}

/// Prints it; an error ends a command that has more to say.
///
/// # Errors
/// Standard output takes no more.
pub(super) fn say(text: &str) -> io::Result<()> {
    let mut to = io::stdout().lock();
    let shown = if to.is_terminal() { printable(text) } else { text.to_owned() };
    to.write_all(shown.as_bytes())?;
    to.flush()
}

/// Asks on the terminal whether to go on with what cannot be undone.
///
/// # Errors
/// The answer is not yes.
pub(super) fn confirm(question: &str) -> anyhow::Result<()> {
    to_err(format_args!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => anyhow::bail!("nothing was deleted"),
    }
}

/// Refuses to delete without an answer: a command that deletes needs a terminal, or `--yes`.
///
/// # Errors
/// Standard input is not a terminal.
pub(super) fn can_ask() -> anyhow::Result<()> {
    anyhow::ensure!(
        io::stdin().is_terminal(),
        "nothing was deleted, since there is no terminal to ask on: add --yes to delete, or --dry-run to see what it \
         would be"
    );
    Ok(())
}

/// Whether all that should be printed was, or was not wanted any more.
pub(super) fn is_whole() -> bool {
    !FAILED.load(Ordering::Relaxed)
}

fn note(error: &io::Error) {
    if error.kind() != ErrorKind::BrokenPipe {
        FAILED.store(true, Ordering::Relaxed);
    }
}

/// Text without what a terminal would carry out, or show in another order: such characters are written as
/// their code. Line ends and tabs stay.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => shown.push(letter),
            _ if letter.is_control() && letter <= '\u{FF}' => {
                shown.push_str(&format!("\\x{:02x}", u32::from(letter)));
            }
            // Marks that turn the direction of writing.
            '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                shown.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            _ => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_carry_out_is_shown_as_text() {
        let check = |text: &str, shown: &str| assert_eq!(printable(text), shown);
        check("a\tb\nc é ✓ +1555", "a\tb\nc é ✓ +1555");
        check("\u{1b}]0;PWNED\u{7}\u{1b}[2J", "\\x1b]0;PWNED\\x07\\x1b[2J");
        check("\u{9b}2J\u{7f}\r\0", "\\x9b2J\\x7f\\x0d\\x00");
        check("a\u{202e}b\u{2066}", "a\\u202eb\\u2066");
    }
}
