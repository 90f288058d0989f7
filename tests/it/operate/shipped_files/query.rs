//! [`check`]: every metric, label and value of a query is one that a server really exports.

use std::collections::{BTreeMap, BTreeSet};

use crate::operate::metrics::Exposition;

/// What Prometheus itself adds to every series.
const ADDED: [&str; 2] = ["job", "instance"];

/// The labels of a metric, and the values that each has.
type Labels = BTreeMap<String, BTreeSet<String>>;

/// Asserts that the query asks for nothing that is not there.
pub(super) fn check(what: &str, query: &str, exported: &Exposition) {
    let mut known: BTreeSet<String> = ADDED.map(str::to_owned).into();
    let mut metrics = 0;
    for (name, matchers) in selectors(query) {
        let labels = labels_of(&name, exported);
        assert!(labels.is_some(), "{what}: no server exports {name}");
        let labels = labels.unwrap_or_default();
        for (label, pattern) in matchers {
            let values = labels.get(&label);
            let added = ADDED.contains(&label.as_str());
            assert!(added || values.is_some(), "{what}: {name} has no label {label}");
            for value in pattern.split('|').filter(|_| !added) {
                let there = values.is_some_and(|values| values.contains(value));
                assert!(there, "{what}: {name} is never {label}=\"{value}\"");
            }
        }
        known.extend(labels.into_keys());
        metrics += 1;
    }
    assert!(metrics > 0, "{what}: it asks for no metric of ours: {query}");
    for label in grouping(query) {
        assert!(known.contains(&label), "{what}: nothing that it asks for has a label {label}");
    }
}

fn labels_of(name: &str, exported: &Exposition) -> Option<Labels> {
    let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    let is_family = |name: &str| exported.types.contains_key(name);
    if !is_family(name) && !family.is_some_and(is_family) {
        return None;
    }
    let mut labels = Labels::new();
    for series in exported.series.keys() {
        let (of, rest) = series.split_once('{').unwrap_or((series, ""));
        if of == name {
            for (label, value) in pairs(rest) {
                labels.entry(label).or_default().insert(value);
            }
        }
    }
    Some(labels)
}

/// The metrics of a query that are ours, with what is asked of their labels.
fn selectors(query: &str) -> Vec<(String, Vec<(String, String)>)> {
    let starts = query.match_indices("offhook_").map(|(at, _)| at);
    let starts = starts.filter(|at| !query[..*at].ends_with(|c: char| c.is_alphanumeric()));
    starts
        .map(|at| {
            let rest = &query[at..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let matchers = rest[end..].strip_prefix('{').map(pairs).unwrap_or_default();
            (rest[..end].to_owned(), matchers)
        })
        .collect()
}

/// `a="b",c=~"d"}`; values have no quotes in them.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut parts = text.split('}').next().unwrap_or_default().split('"');
    let mut pairs = Vec::new();
    while let (Some(label), Some(value)) = (parts.next(), parts.next()) {
        let label = label.trim_matches(|c: char| !c.is_alphanumeric() && c != '_');
        pairs.push((label.to_owned(), value.to_owned()));
    }
    pairs
}

/// The labels after `by` and `on`.
fn grouping(query: &str) -> BTreeSet<String> {
    let groups = ["by (", "on ("]
        .iter()
        .flat_map(|word| query.match_indices(word).map(|(at, word)| &query[at + word.len()..]));
    let lists = groups.filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',').map(|label| label.trim().to_owned())).collect()
}

#[test]
fn a_query_is_taken_apart() {
    let query = "sum by (job, le) (rate(offhook_a_bucket{x=\"1\", y=~\"2|3\"}[5m])) / offhook_b";
    let pair = |label: &str, value: &str| (label.to_owned(), value.to_owned());
    let a = vec![pair("x", "1"), pair("y", "2|3")];
    let expected = vec![("offhook_a_bucket".to_owned(), a), ("offhook_b".to_owned(), Vec::new())];
    assert_eq!(selectors(query), expected);
    assert_eq!(grouping(query), ["job", "le"].map(str::to_owned).into());
}

#[test]
#[should_panic(expected = "offhook_x is never a=\"3\"")]
fn a_value_that_is_never_there_is_found() {
    let types = [("offhook_x".to_owned(), "counter".to_owned())].into();
    let series = [("offhook_x{a=\"1\",b=\"2\"}".to_owned(), 0.0)].into();
    let exported = Exposition { types, series };
    check("good", "sum by (b) (offhook_x{a=~\"1\",job=\"any\"})", &exported);
    check("bad", "offhook_x{a=~\"1|3\"}", &exported);
}
