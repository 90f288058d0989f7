//! What the pages for users say is so: each of their tables has what the program has, no more and no less, and
//! each metric, key and command line that they show exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Command, CommandFactory as _, ValueEnum as _};
use offhook::backend::sqlite::Database;
use offhook::cli::Cli;
use offhook::event::{Kind, Route};
use offhook::lab::torture::Scenario;
use offhook::recent::Refusal;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::{anchor, read, without_blocks};
use crate::operate::metrics::FAMILIES;

/// A newcomer reads all of it before the first command.
const LONGEST_README: usize = 150;

/// What begins as a metric does, and is something else.
const NO_METRICS: [&str; 6] = [
    "offhook_",
    "offhook_attempt",
    "offhook_changes",
    "offhook_cursor",
    "offhook_reader",
    "offhook_runbook_url",
];

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= LONGEST_README, "README.md has {lines} lines");
}

/// Before its first section, each of which it links to, in their order.
#[test]
fn each_page_begins_with_its_contents() {
    for page in pages().into_iter().filter(|page| page.starts_with("docs")) {
        let text = read(&page);
        let prose = without_blocks(&text);
        let (start, _) = prose.split_once("\n## ").expect("a page has sections");
        let items = start.lines().filter(|line| line.starts_with("- ["));
        let linked = items.filter_map(|item| item.split_once("](#")?.1.split(')').next());
        let sections = prose.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor);
        assert_eq!(
            linked.map(str::to_owned).collect::<Vec<_>>(),
            sections.collect::<Vec<_>>(),
            "the contents of {}",
            page.display()
        );
    }
}

#[test]
fn the_metrics_are_those_of_the_program() {
    let page = read("docs/reference/metrics.md");
    let named: BTreeSet<&str> =
        rows(section(&page, "Metrics")).flat_map(|row| spans(row[0])).collect();
    let mut known: BTreeSet<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
    known.retain(|name| name.starts_with("offhook_"));
    // Only of a build with traces.
    known.insert("offhook_spans_total");
    assert_eq!(named, known);
}

#[test]
fn each_metric_that_a_page_names_exists() {
    let mut unknown = BTreeSet::new();
    let mut seen = 0;
    for page in pages() {
        let text = read(&page);
        for word in
            text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        {
            if !word.starts_with("offhook_") || NO_METRICS.contains(&word) {
                continue;
            }
            seen += 1;
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            let is_known = |name: &str| FAMILIES.iter().any(|(known, _)| *known == name);
            if !is_known(family.unwrap_or(word)) && word != "offhook_spans_total" {
                unknown.insert(format!("{}: {word}", page.display()));
            }
        }
    }
    assert!(seen > 50, "the pages are not read: {seen} metrics");
    assert!(unknown.is_empty(), "metrics that do not exist: {unknown:?}");
}

#[test]
fn the_commands_are_those_of_the_program() {
    let page = read("docs/reference/commands.md");
    let named: BTreeSet<String> = rows(section(&page, "The commands"))
        .flat_map(|row| spans(row[0]))
        .map(|span| span.split(' ').nth(1).expect("a command").to_owned())
        .collect();
    let program = Cli::command();
    let known: BTreeSet<String> = program
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| command.get_name().to_owned())
        .collect();
    assert_eq!(named, known);
}

/// In blocks and within lines: the command is there, and so is each of its options.
#[test]
fn each_command_line_that_a_page_shows_is_understood() {
    let mut program = Cli::command();
    program.build();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages() {
        let text = read(&page);
        for line in command_lines(&text) {
            seen += 1;
            if let Some(word) = not_understood(&program, &line) {
                wrong.push(format!("{}: {line}: {word}", page.display()));
            }
        }
    }
    assert!(seen > 60, "the pages are not read: {seen} lines");
    assert!(wrong.is_empty(), "command lines that are not understood:\n{}", wrong.join("\n"));
}

/// What follows the name of the program in each line that begins with it.
fn command_lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for (number, part) in joined.split("```").enumerate() {
        let pieces: Vec<&str> = if number % 2 == 1 {
            let commands = part.lines().flat_map(|line| line.split(" # ").next());
            commands.flat_map(|line| line.split(" | ")).collect()
        } else {
            part.split('`').skip(1).step_by(2).collect()
        };
        for piece in pieces {
            let piece = piece.trim().trim_start_matches("$ ").replace('\n', " ");
            if let Some(line) = piece.strip_prefix("offhook ") {
                found.push(line.to_owned());
            }
        }
    }
    found
}

/// The first word of a command line that the program does not know.
fn not_understood(program: &Command, line: &str) -> Option<String> {
    let mut command = program;
    for word in line.split_whitespace() {
        let has_commands = command.get_subcommands().next().is_some();
        let is_placeholder = !word.starts_with(|c: char| c.is_ascii_lowercase());
        if let Some(option) = word.strip_prefix("--") {
            let option = option.split('=').next().expect("there is a first part");
            let option = option.trim_end_matches([',', ';', '.', ')', ']']);
            let is_known = command.get_arguments().any(|known| known.get_long() == Some(option));
            if !is_known && !["help", "version"].contains(&option) {
                return Some(word.to_owned());
            }
        } else if has_commands && !is_placeholder {
            match command.find_subcommand(word) {
                Some(found) => command = found,
                None if std::ptr::eq(command, program) => return Some(word.to_owned()),
                None => {}
            }
        }
    }
    None
}

#[test]
fn the_public_routes_and_refusals_are_those_of_the_program() {
    let page = read("docs/reference/routes.md");
    let (mut routes, mut refusals) = (BTreeSet::new(), BTreeMap::new());
    for row in rows(section(&page, "Public routes")) {
        if let Some(route) = spans(row[0]).next() {
            routes.insert(route.trim_start_matches('/'));
        } else if let Some(reason) = spans(row[1]).next() {
            refusals.insert(reason, row[0]);
        }
    }
    assert_eq!(routes, Route::ALL.map(Route::as_str).into());
    let statuses = Refusal::ALL.map(|refusal| refusal.status().as_u16().to_string());
    let known = Refusal::ALL.iter().zip(&statuses);
    assert_eq!(
        refusals,
        known.map(|(refusal, status)| (refusal.as_str(), status.as_str())).collect()
    );
}

#[test]
fn the_routes_of_the_api_are_those_of_its_description() {
    let page = read("docs/reference/api.md");
    let named: BTreeSet<String> = rows(section(&page, "API"))
        .flat_map(|row| routes(row[0]))
        .filter(|route| route.starts_with("/api/"))
        .collect();
    let description: Value =
        serde_json::from_str(&read("src/admin/api/openapi.json")).expect("JSON");
    let paths = description["paths"].as_object().expect("paths");
    assert_eq!(named, paths.keys().cloned().collect());
}

/// The routes of a cell; one that begins with `…` has the start of the one before it.
fn routes(cell: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for span in spans(cell) {
        let route = span.split(' ').next_back().expect("there is a last word");
        let start = |all: &[String]| {
            let before = all.last().expect("one before it");
            before[..before.rfind('/').expect("a route")].to_owned()
        };
        all.push(match route.strip_prefix('…') {
            Some(end) => format!("{}{end}", start(&all)),
            None => route.to_owned(),
        });
    }
    all
}

#[tokio::test]
async fn the_columns_are_those_of_the_tables() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
    let database = Arc::new(Database::lock(&url).expect("a file of our own"));
    database.migrate().await.expect("a new file");
    let mut connection = SqliteConnection::connect(&url).await.expect("the file is there");
    let (tables, consuming) = (read("docs/reference/tables.md"), read("docs/consuming.md"));
    let (_, tables) = tables.split_once("**`events`**").expect("the events");
    let (events, statuses) = tables.split_once("**`statuses`**").expect("the statuses");
    let (_, wakes) = tables.split_once("**`wakes`**").expect("the wakes");
    let of = |table| {
        let head = format!("| column of `{table}` |");
        let at = tables.find(&head).expect("a table of its own");
        // As if it were the first one of a section.
        tables.get(at.saturating_sub(2)..).unwrap_or_default()
    };
    for (table, text) in [
        ("events", events),
        ("statuses", statuses),
        ("changes", section(&consuming, "The change feed")),
        ("wakes", wakes),
        ("notifications", of("notifications")),
        ("attempts", of("attempts")),
        ("steps", of("steps")),
    ] {
        let sql = AssertSqlSafe(format!("PRAGMA table_xinfo({table})"));
        let columns = sqlx::query(sql).fetch_all(&mut connection).await.expect("a table");
        let known: BTreeSet<String> = columns.iter().map(|column| column.get("name")).collect();
        // The first table of the section: the next ones have no column in them.
        let named: BTreeSet<String> = rows(text.split("\n\n| ").take(2).last().unwrap_or_default())
            .flat_map(|row| spans(row[0]))
            .map(|name| name.trim_matches('"').to_owned())
            .collect();
        let unnamed: Vec<_> = known.difference(&named).filter(|name| !is_inner(name)).collect();
        let unknown: Vec<_> = named.difference(&known).filter(|name| !is_inner(name)).collect();
        assert!(unnamed.is_empty() && unknown.is_empty(), "{table}: {unnamed:?} {unknown:?}");
    }
}

/// Columns of offhook's own: two that a row names in passing, and one that Postgres alone has.
fn is_inner(name: &str) -> bool {
    ["own_order", "terminals", "previous_position"].contains(&name)
}

/// What is promised is what is tried.
#[test]
fn each_scenario_of_the_torture_is_beside_a_guarantee() {
    let page = read("docs/guarantees.md");
    let promised = section(&page, "What is promised");
    let named: BTreeSet<&str> =
        rows(promised).flat_map(|row| spans(row[2])).chain(["rolling-restart"]).collect();
    let known: Vec<String> = Scenario::value_variants()
        .iter()
        .filter_map(|scenario| Some(scenario.to_possible_value()?.get_name().to_owned()))
        .collect();
    assert_eq!(named, known.iter().map(String::as_str).collect());
    assert!(promised.contains("(`rolling-restart`)"));
}

#[test]
fn the_kinds_are_those_of_the_program() {
    let page = read("docs/reference/tables.md");
    let row = page.lines().find(|line| line.starts_with("| `kind` |")).expect("the column");
    let named: Vec<&str> = spans(row).skip(1).take(Kind::ALL.len()).collect();
    assert_eq!(named, Kind::ALL.map(Kind::as_str));
}

#[test]
fn each_key_that_a_page_names_exists() {
    let keys = keys();
    assert!(keys.len() > 60, "the file is not read: {keys:?}");
    let sections: BTreeSet<&str> = keys.keys().filter_map(|key| key.split('.').next()).collect();
    let (mut unknown, mut seen) = (BTreeSet::new(), 0);
    for page in pages() {
        for span in spans(&without_blocks(&read(&page))) {
            let Some((section, key)) = span.split_once('.') else { continue };
            let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let key = key.split([' ', '=']).next().unwrap_or_default();
            if !sections.contains(section) || key.is_empty() || !key.chars().all(is_key) {
                continue;
            }
            seen += 1;
            let named = format!("{section}.{key}");
            let plain = named.trim_end_matches("_file");
            if !keys.contains_key(&named) && !keys.contains_key(plain) && !is_file(key) {
                unknown.insert(format!("{}: {named}", page.display()));
            }
        }
    }
    assert!(seen > 60, "the pages are not read: {seen} keys");
    assert!(unknown.is_empty(), "keys that do not exist: {unknown:?}");
}

/// `config.rs` and the like are files, and `store.sql`.
fn is_file(key: &str) -> bool {
    ["rs", "sql", "toml", "yml"].contains(&key)
}

#[test]
fn the_keys_and_their_defaults_are_those_of_the_shipped_file() {
    let page = read("docs/reference/configuration.md");
    let named: BTreeMap<&str, &str> = rows(section(&page, "Keys"))
        .map(|row| (spans(row[0]).next().expect("a key"), row[1].trim_matches('`')))
        .collect();
    let keys = keys();
    let known: BTreeSet<&str> = keys.keys().map(String::as_str).collect();
    assert_eq!(named.keys().copied().collect::<BTreeSet<_>>(), known);
    for (key, default) in keys.iter().filter_map(|(key, default)| Some((key, default.as_ref()?))) {
        assert_eq!(named[key.as_str()], shown(default), "the default of {key}");
    }
}

/// A long text is not repeated.
fn shown(default: &str) -> &str {
    if default.len() > 40 { "a sentence" } else { default }
}

/// Every key of the shipped file, those that are comments too, with its section before it; and its default.
fn keys() -> BTreeMap<String, Option<String>> {
    let (mut all, mut section) = (BTreeMap::new(), String::new());
    for line in read("config/offhook.toml").lines() {
        let is_comment = line.starts_with('#');
        let line = line.trim_start_matches("# ");
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
        } else if let Some((key, value)) = line.split_once(" = ") {
            let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if is_key && !key.is_empty() {
                let start = if section.is_empty() { String::new() } else { format!("{section}.") };
                all.insert(start + key, (!is_comment).then(|| value.to_owned()));
            }
        }
    }
    all
}

/// The pages for users: the README, and all below `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut all = vec![PathBuf::from("README.md")];
    for directory in ["docs", "docs/reference"] {
        let entries = std::fs::read_dir(directory).expect("it is a directory").flatten();
        let paths = entries.map(|entry| entry.path());
        all.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    all.sort();
    assert!(all.len() > 10, "the pages are not found: {all:?}");
    all
}

/// What a page says below a heading of level 2.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).expect("the section is there");
    rest.split("\n## ").next().unwrap_or_default()
}

/// The cells of each row of the tables in a text, without heads.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect());
    cells.filter(|cells: &Vec<&str>| cells.iter().any(|cell| cell.contains('`')))
}

/// What a text has as code.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
