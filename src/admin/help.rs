//! The pages of `docs/`, built in: a process can explain itself where no network leads to a repository, and it
//! explains the version that runs.

mod markdown;

use std::borrow::Cow;

use self::markdown::Outline;

/// Under which the pages are served.
pub(super) const ROOT: &str = "/help";
/// The page that has a section for each alert.
pub(super) const RUNBOOK: &str = "operations";

/// One page of `docs/`.
#[derive(Debug)]
pub struct Page {
    /// Its file below `docs/`, without `.md`.
    pub name: &'static str,
    source: &'static str,
}

/// What is built in of a page: its Markdown. A debug build has only its path, so that a change of a page
/// compiles nothing.
#[cfg(not(debug_assertions))]
macro_rules! source {
    ($name:literal) => {
        include_str!(concat!("../../docs/", $name, ".md"))
    };
}
#[cfg(debug_assertions)]
macro_rules! source {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/docs/", $name, ".md")
    };
}

/// Each is a file below `docs/`; a test holds the list against the directory.
macro_rules! pages {
    ($($name:literal),+ $(,)?) => { &[$(Page { name: $name, source: source!($name) }),+] };
}

/// Every page, in the order in which they are listed: how to run it and to use it, then how it is made.
pub const PAGES: &[Page] = pages![
    "operations",
    "deploying",
    "migrating",
    "guarantees",
    "consuming",
    "forwarding",
    "sending",
    "campaigns",
    "email",
    "reference/configuration",
    "reference/commands",
    "reference/routes",
    "reference/tables",
    "reference/api",
    "reference/metrics",
    "decisions",
    "adding",
];

/// The page of this name, which may end as its file does.
pub(super) fn page(name: &str) -> Option<&'static Page> {
    let name = name.strip_suffix(".md").unwrap_or(name);
    PAGES.iter().find(|page| page.name == name)
}

/// The path of a page.
pub(super) fn path(name: &str) -> String {
    format!("{ROOT}/{name}")
}

impl Page {
    /// Its Markdown.
    #[cfg(not(debug_assertions))]
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.source)
    }

    /// Its Markdown.
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        let read = std::fs::read_to_string(self.source);
        Cow::Owned(read.unwrap_or_else(|error| format!("# {}\n\n{error}\n", self.name)))
    }

    /// As HTML, from its title on. What Markdown has as HTML is text there, and pictures are left out.
    pub(super) fn html(&self) -> String {
        markdown::html(self.name, &self.text())
    }

    /// Its title and its sections.
    pub(super) fn outline(&self) -> Outline {
        markdown::outline(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_found_by_its_name_and_by_its_file() {
        for name in ["operations", "operations.md"] {
            assert_eq!(page(name).map(|page| page.name), Some("operations"), "{name}");
        }
        for name in ["", "Operations", "../README", "operations.md.md", "operations/"] {
            assert!(page(name).is_none(), "{name}");
        }
        assert!(page(RUNBOOK).is_some());
    }

    #[test]
    fn each_page_has_a_title_and_sections() {
        for page in PAGES {
            let outline = page.outline();
            assert!(!outline.title.is_empty() && !outline.sections.is_empty(), "{}", page.name);
        }
    }
}
