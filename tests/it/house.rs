//! What the repository says about itself is true: each dependency is used, and what the documentation links to or
//! names is there.

mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Dependencies that no source names, and why they are there.
const UNNAMED: [(&str, &str); 2] = [
    ("idna_adapter", "says which Unicode tables the URLs of others take"),
    (
        "opentelemetry-otlp",
        "as a dependency of tests: so that the features of the others do not depend on `otel`",
    ),
];

/// Directories that are not of the project, or that others made.
const FOREIGN: [&str; 5] = ["target", ".git", "node_modules", "secrets", "images"];

#[test]
fn each_dependency_is_used() {
    let manifest = read("Cargo.toml");
    let program = text_of(&["src"]);
    let all = text_of(&["src", "tests", "benches"]);
    let mut unused = Vec::new();
    let mut section = "";
    let mut seen = 0;
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            continue;
        }
        let sources = match section {
            "dependencies" => &program,
            "dev-dependencies" => &all,
            _ => continue,
        };
        let Some((name, _)) = line.split_once(" = ") else { continue };
        if name.starts_with('#') {
            continue;
        }
        seen += 1;
        let path = format!("{}::", name.replace('-', "_"));
        let attribute = format!("{}]", name.replace('-', "_"));
        let is_known = UNNAMED.iter().any(|(known, _)| *known == name);
        if !is_known && !sources.contains(&path) && !sources.contains(&attribute) {
            unused.push(format!("{name} in [{section}]"));
        }
    }
    assert!(seen > 40, "the manifest is not read: {seen} dependencies");
    assert!(unused.is_empty(), "no source names these dependencies: {}", unused.join(", "));
}

#[test]
fn each_link_of_the_documentation_leads_somewhere() {
    let mut headings = BTreeMap::new();
    let (mut broken, mut seen) = (Vec::new(), 0);
    for page in files(&["md"]) {
        let text = read(&page);
        for link in links(&text) {
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let directory = page.parent().expect("it is in a directory");
            let target = if path.is_empty() { page.clone() } else { directory.join(path) };
            if !target.exists() {
                broken.push(format!("{}: {link}", page.display()));
            } else if !anchor.is_empty() {
                let known =
                    headings.entry(target.clone()).or_insert_with(|| anchors(&read(&target)));
                if !known.contains(anchor) {
                    broken.push(format!("{}: {link} (no such heading)", page.display()));
                }
            }
        }
    }
    assert!(seen > 20, "the pages are not read: {seen} links");
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn each_file_that_is_named_is_there() {
    let (mut missing, mut seen) = (BTreeSet::new(), 0);
    for file in
        files(&["md", "rs", "toml", "yml", "yaml", "sql", "sh"]).into_iter().chain(scripts())
    {
        let text = read(&file);
        let is_page = file.extension().is_some_and(|extension| extension == "md");
        let lines = text.lines().map(|line| if is_page { line } else { comment(line) });
        for name in lines.flat_map(named_files) {
            seen += 1;
            let beside = file.parent().expect("it is in a directory").join(name);
            if !Path::new(name).exists() && !beside.exists() {
                missing.insert(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(seen > 50, "the files are not read: {seen} names");
    let missing: Vec<String> = missing.into_iter().collect();
    assert!(missing.is_empty(), "files that are named and not there:\n{}", missing.join("\n"));
}

/// Of the modules that ARCHITECTURE.md names; what is in capitals is a type, and not looked for.
#[test]
fn each_module_of_the_code_map_is_there() {
    let text = read("ARCHITECTURE.md");
    let (mut missing, mut seen) = (BTreeSet::new(), 0);
    for name in text.split('`').skip(1).step_by(2) {
        let parts: Vec<&str> = name.split("::").collect();
        let is_module = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        let modules = parts.iter().take_while(|part| is_module(part)).count();
        if parts.len() < 2 || modules == 0 || !source(&parts[..1]).exists() {
            continue;
        }
        seen += 1;
        let (last, above) = parts[..modules].split_last().expect("there is one");
        let is_item = || {
            let text = read(source(above));
            [
                format!("fn {last}("),
                format!("fn {last}<"),
                format!("mod {last};"),
                format!("{last}:"),
            ]
            .iter()
            .any(|item| text.contains(item))
        };
        if !source(&parts[..modules]).exists()
            && (above.is_empty() || !source(above).exists() || !is_item())
        {
            missing.insert(name);
        }
    }
    assert!(seen > 10, "the page is not read: {seen} modules");
    assert!(missing.is_empty(), "ARCHITECTURE.md names modules that are not there: {missing:?}");
}

fn source(module: &[&str]) -> PathBuf {
    Path::new("src").join(module.join("/")).with_extension("rs")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of the project with one of these extensions.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(Path::new("."), extensions, &mut found);
    found.sort();
    found
}

fn collect(directory: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("it is a directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if FOREIGN.iter().any(|foreign| name == *foreign) {
            continue;
        }
        let is = |extension: &std::ffi::OsStr| extensions.iter().any(|known| extension == *known);
        if path.is_dir() {
            collect(&path, extensions, found);
        } else if path.extension().is_some_and(is) {
            found.push(path.strip_prefix(".").expect("it is below").to_owned());
        }
    }
}

/// Those that have no extension.
fn scripts() -> impl Iterator<Item = PathBuf> {
    [".ci/run", "tests/run", "tests/setup", "tests/screenshots", "justfile", "Dockerfile"]
        .into_iter()
        .map(PathBuf::from)
}

/// Every source below these directories.
fn text_of(directories: &[&str]) -> String {
    let of = |path: &PathBuf| directories.iter().any(|directory| path.starts_with(directory));
    files(&["rs"]).iter().filter(|path| of(path)).map(read).collect()
}

/// What a line comments; nothing, if it has no comment.
fn comment(line: &str) -> &str {
    let starts = ["//", "# ", "-- "];
    let at = starts.iter().filter_map(|start| line.find(start)).min();
    at.map_or("", |at| &line[at..])
}

/// The names of files of the project in a line; those that stand for several are left out.
fn named_files(line: &str) -> impl Iterator<Item = &str> {
    const ROOTS: [&str; 8] =
        ["src/", "tests/", "docs/", "config/", "migrations/", "benches/", "fuzz/", ".ci/"];
    let words = line.split(|c: char| c.is_whitespace() || "`()[]\"',;|".contains(c));
    words
        .map(|word| word.trim_end_matches(['.', ':', '*']))
        .filter(|word| ROOTS.iter().any(|root| word.starts_with(root)))
        .filter(|word| !word.contains(['<', '*', '…', '{', '$', '#', '%', '=', '\\']))
}

/// The targets of links that lead to a file or to a heading of this one.
fn links(text: &str) -> Vec<String> {
    let prose = without_code(text);
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let definitions = prose.lines().filter_map(|line| {
        let (name, target) = line.split_once("]: ")?;
        name.starts_with('[').then_some(target)
    });
    let all = inline.chain(definitions).map(|target| target.trim().to_owned());
    all.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// The anchors that GitHub gives to headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = without_blocks(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Without blocks and spans of code, in which a bracket is no link.
fn without_code(text: &str) -> String {
    let blocks = without_blocks(text);
    let spans = blocks.split('`').enumerate();
    spans.filter(|(place, _)| place % 2 == 0).map(|(_, part)| part).collect()
}

fn without_blocks(text: &str) -> String {
    let blocks = text.split("```").enumerate();
    blocks.filter(|(place, _)| place % 2 == 0).map(|(_, part)| part).collect()
}

#[test]
fn links_headings_and_names_of_files_are_read_as_they_are_written() {
    let text = "See [a](b.md#c-d) and [e](https://e.example), not `[x](y)`.\n```\n# no heading\n[z](w)\n```\n[r]: f.md";
    assert_eq!(links(text), ["b.md#c-d", "f.md"]);
    let known = anchors("# A b\n```\n# no\n```\n## `Config`, or: what's *in* it");
    assert_eq!(known, ["a-b", "config-or-whats-in-it"].map(str::to_owned).into());
    let found: Vec<&str> =
        named_files("in `tests/it/floors.rs`, src/<name>.rs and docs/*.md.").collect();
    assert_eq!(found, ["tests/it/floors.rs"]);
    assert_eq!(comment("let a = 1; // why"), "// why");
}
