//! Markdown as HTML: each heading has the anchor that it has on GitHub, and a link to a page that is served leads
//! there. No I/O.

use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};

use super::{page, path};

/// Where a link leads to a file that is not served.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main");

/// What a list of pages says about one.
#[derive(Debug, Default)]
pub(in crate::admin) struct Outline {
    pub(in crate::admin) title: String,
    /// Its headings of level 2.
    pub(in crate::admin) sections: Vec<Section>,
}

#[derive(PartialEq, Eq, Debug)]
pub(in crate::admin) struct Section {
    pub(in crate::admin) anchor: String,
    pub(in crate::admin) text: String,
}

fn parse(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

/// Renders a page. Its HTML stays within the console's content security policy.
pub(super) fn html(name: &str, text: &str) -> String {
    let mut anchors = Anchors::default();
    let mut events: Vec<Event<'_>> = Vec::new();
    let (mut heading, mut pictures) = (None, 0_usize);
    for event in parse(text) {
        let event = match event {
            Event::Start(Tag::Image { .. }) => {
                pictures += 1;
                continue;
            }
            Event::End(TagEnd::Image) => {
                pictures -= 1;
                continue;
            }
            _ if pictures > 0 => continue,
            // The policy of the console forbids the styles by which columns are aligned.
            Event::Start(Tag::Table(_)) => Event::Start(Tag::Table(Vec::new())),
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let dest_url = CowStr::from(target(name, &dest_url));
                Event::Start(Tag::Link { link_type, dest_url, title, id })
            }
            Event::Start(Tag::Heading { .. }) => {
                heading = Some(events.len());
                event
            }
            Event::End(TagEnd::Heading(_)) => {
                let start = heading.take().expect("a heading that ends has begun");
                let anchor = anchors.of(&plain(&events[start..]));
                if let Event::Start(Tag::Heading { id, .. }) = &mut events[start] {
                    *id = Some(CowStr::from(anchor));
                }
                event
            }
            event => event,
        };
        events.push(event);
    }
    let mut html = String::with_capacity(text.len() * 2);
    push_html(&mut html, events.into_iter());
    html
}

pub(super) fn outline(text: &str) -> Outline {
    let mut outline = Outline::default();
    let (mut anchors, mut heading) = (Anchors::default(), Vec::new());
    for event in parse(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading.clear(),
            Event::End(TagEnd::Heading(level)) => {
                let text = plain(&heading);
                let anchor = anchors.of(&text);
                match level {
                    HeadingLevel::H1 => outline.title = text,
                    HeadingLevel::H2 => outline.sections.push(Section { anchor, text }),
                    _ => {}
                }
            }
            event => heading.push(event),
        }
    }
    outline
}

/// What is left of a piece of a page without its markup.
fn plain(events: &[Event<'_>]) -> String {
    let texts = events.iter().map(|event| match event {
        Event::Text(text) | Event::Code(text) => text,
        Event::SoftBreak | Event::HardBreak => " ",
        _ => "",
    });
    texts.collect()
}

/// The anchors of one page.
#[derive(Default)]
struct Anchors(BTreeMap<String, usize>);

impl Anchors {
    /// As GitHub makes it, so that a link holds there and here.
    fn of(&mut self, heading: &str) -> String {
        let lower = heading.to_lowercase();
        let kept = lower.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let seen = self.0.entry(anchor.clone()).or_default();
        *seen += 1;
        match *seen {
            1 => anchor,
            again => format!("{anchor}-{}", again - 1),
        }
    }
}

/// Where a link of this page leads: on itself and elsewhere as it is written, to another page that is served, or to
/// the repository.
fn target(from: &str, link: &str) -> String {
    if link.starts_with('#') || link.contains("://") || link.starts_with("mailto:") {
        return link.to_owned();
    }
    let (file, anchor) = link.split_once('#').map_or((link, ""), |(file, anchor)| (file, anchor));
    let file = resolve(from, file);
    let mut target = match file.strip_prefix("docs/").and_then(page) {
        Some(page) => path(page.name),
        None => format!("{REPOSITORY}/{file}"),
    };
    if !anchor.is_empty() {
        target = format!("{target}#{anchor}");
    }
    target
}

/// A file of the repository, by how a page names it.
fn resolve(from: &str, file: &str) -> String {
    let from = format!("docs/{from}");
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_what_is_served_or_to_the_repository() {
        let check = |from: &str, link: &str, expected: &str| {
            assert_eq!(target(from, link), expected, "{link} of {from}");
        };
        for link in ["#redis", "https://www.twilio.com/docs#x", "mailto:a@example.com"] {
            check("operations", link, link);
        }
        check("consuming", "operations.md#redis", "/help/operations#redis");
        check("consuming", "./operations.md", "/help/operations");
        check("reference/metrics", "../operations.md#redis", "/help/operations#redis");
        let repository = |path: &str| format!("{}/blob/main/{path}", env!("CARGO_PKG_REPOSITORY"));
        check("operations", "../README.md#console", &repository("README.md#console"));
        check("consuming", "samples/feed.sql", &repository("docs/samples/feed.sql"));
        check("reference/api", "../../src/admin.rs", &repository("src/admin.rs"));
        // A page that is not there.
        check("operations", "none.md", &repository("docs/none.md"));
    }

    #[test]
    fn headings_have_the_anchors_that_they_have_on_github() {
        let mut anchors = Anchors::default();
        for (heading, anchor) in [
            ("Being told: NOTIFY", "being-told-notify"),
            ("The form `twilio`", "the-form-twilio"),
            ("a_b – c", "a_b--c"),
            ("Redis", "redis"),
            ("Redis", "redis-1"),
        ] {
            let heading = heading.replace('`', "");
            assert_eq!(anchors.of(&heading), anchor);
        }
    }

    #[test]
    fn a_page_is_its_text_and_no_more_than_the_policy_allows() {
        let text = "# A `b`\n\nSee ![*a* picture](p.png) [c](operations.md).\n\n| x |\n| ---: |\n| <b>1</b> |\n\n\
                    <script>x</script>\n\n- d\n\n```sh\nls <e>\n```\n";
        let html = html("consuming", text);
        for part in [
            "<h1 id=\"a-b\">A <code>b</code></h1>",
            "See  <a href=\"/help/operations\">c</a>.",
            "<td>&lt;b&gt;1&lt;/b&gt;</td>",
            "&lt;script&gt;",
            "<li>d</li>",
            "ls &lt;e&gt;",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        for part in ["<img", "picture", "style=", "<script"] {
            assert!(!html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn an_outline_has_the_title_and_the_sections() {
        let text = "# A `b`\n\n## C d\n\n### E\n\n## C d\n";
        let outline = outline(text);
        let section = |anchor: &str| Section { anchor: anchor.to_owned(), text: "C d".to_owned() };
        assert_eq!(outline.title, "A b");
        assert_eq!(outline.sections, [section("c-d"), section("c-d-1")]);
    }
}
