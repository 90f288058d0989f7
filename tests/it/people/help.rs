//! The documentation that a process serves is whole, and each of its links leads somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::harness::{Client, Testbed};

/// Where links to files go that are not served.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");

/// The names of the pages below `docs/`.
fn pages_of(directory: &Path, above: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).expect("it is there").flatten() {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        if entry.path().is_dir() {
            pages_of(&entry.path(), &format!("{above}{name}/"), found);
        } else if let Some(page) = name.strip_suffix(".md") {
            found.insert(format!("{above}{page}"));
        }
    }
}

async fn page(client: &Client, path: &str) -> String {
    let answer = client.admin(path).await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().await.expect("the whole page")
}

/// The values of an attribute.
fn values(html: &str, attribute: &str) -> Vec<String> {
    let start = format!("{attribute}=\"");
    let found = html.split(&start).skip(1).filter_map(|rest| rest.split('"').next());
    found.map(|value| value.replace("&amp;", "&")).collect()
}

#[tokio::test]
async fn every_page_of_the_documentation_is_served_and_every_link_leads_somewhere() {
    let testbed = Testbed::embedded();
    let offhook = testbed.start();
    let mut expected = BTreeSet::new();
    pages_of(Path::new("docs"), "", &mut expected);
    assert!(expected.contains("operations"), "{expected:?}");
    let index = page(&offhook.client, "/help").await;
    let listed = values(&index, "href").into_iter();
    let listed: BTreeSet<_> = listed
        .filter_map(|link| Some(link.strip_prefix("/help/")?.split('#').next()?.to_owned()))
        .collect();
    assert_eq!(listed, expected, "PAGES in src/admin/help.rs is the list");

    let mut texts = BTreeMap::new();
    for name in &expected {
        let text = page(&offhook.client, &format!("/help/{name}")).await;
        assert!(!text.contains("<img"), "{name}");
        let anchors: BTreeSet<_> = values(&text, "id").into_iter().collect();
        texts.insert(format!("/help/{name}"), (text, anchors));
    }
    let mut broken = BTreeSet::new();
    let mut leads = |from: &str, link: &str| {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let known = match path.strip_prefix(REPOSITORY) {
            Some(file) => Path::new(file).exists(),
            None if path.starts_with("https://") || path.starts_with("http://") => true,
            None if path.starts_with("/assets/") || ["/", "/help"].contains(&path) => true,
            None => {
                let path = if path.is_empty() { from } else { path };
                let page = texts.get(path);
                page.is_some_and(|(_, anchors)| anchor.is_empty() || anchors.contains(anchor))
            }
        };
        if !known {
            broken.insert(format!("{from}: {link}"));
        }
    };
    for (path, (text, _)) in &texts {
        let (_, article) = text.split_once("<article class=\"help\">").expect("its text");
        values(article, "href").iter().for_each(|link| leads(path, link));
    }
    // What the console links to, on pages that have nothing to show.
    for path in ["/", "/search", "/dead-letters", "/forwards", "/refusals", "/help"] {
        let text = page(&offhook.client, path).await;
        let links = values(&text, "href").into_iter();
        links.filter(|link| link.starts_with("/help/")).for_each(|link| leads(path, &link));
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
    assert_eq!(offhook.client.admin("/help/none").await.status(), 404);
    let by_file = page(&offhook.client, "/help/operations.md").await;
    assert!(by_file.contains("id=\"refusals\""));
}
