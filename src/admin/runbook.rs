//! [`Runbook`]: the page that says what to do about each condition, and its sections. No I/O.

use super::help;

/// The page of the runbook. By default the one that this process serves itself, which is reachable wherever its
/// console is, and fits its version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Runbook(String);

impl Default for Runbook {
    fn default() -> Self {
        Self(help::path(help::RUNBOOK))
    }
}

impl Runbook {
    /// One that is kept elsewhere, by the URL of its page.
    #[must_use]
    pub fn elsewhere(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// Where a section is: a path of this listener, or a whole URL.
    pub(super) fn section(&self, section: &str) -> String {
        format!("{}#{section}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_on_the_page_of_this_process_or_on_one_elsewhere() {
        assert_eq!(Runbook::default().section("refusals"), "/help/operations#refusals");
        let wiki = Runbook::elsewhere("https://wiki.example.com/offhook?v=2");
        assert_eq!(wiki.section("refusals"), "https://wiki.example.com/offhook?v=2#refusals");
    }
}
