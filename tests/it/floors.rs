//! The floors of the house: a module imports only what lies below it. Read off the sources.

use std::path::Path;

/// What holds for a module and all that is in it.
struct Floor {
    module: &'static str,
    /// Modules of ours that it may import, beside itself.
    below: &'static [&'static str],
    /// What it must not know, whoever makes it.
    absent: &'static [&'static str],
}

/// No I/O, no waiting, no log.
const PURE: &[&str] =
    &["tokio", "tokio_util", "tracing", "sqlx", "redis", "axum", "hyper", "std::fs", "std::net"];
/// A contract knows none of those who keep it, and none of those who rely on it.
const NEUTRAL: &[&str] = &["sqlx", "redis", "axum", "hyper", "std::fs", "std::net"];
const NO_HTTP: &[&str] = &["axum", "hyper", "tower", "prometheus"];
const NO_BACKEND: &[&str] = &[
    "sqlx",
    "redis",
    "crate::backend::redis",
    "crate::backend::postgres",
    "crate::backend::sqlite",
];

/// Where a build for torture aborts on purpose, nothing in any other: every floor has such places. And how a closed
/// set of names is declared.
const EVERYWHERE: &[&str] = &["crash_points", "labels"];

/// From the bottom up. What is not here is assembly, and may import everything.
const FLOORS: &[Floor] = &[
    Floor { module: "clock", below: &[], absent: PURE },
    Floor { module: "labels", below: &[], absent: PURE },
    // The order of statuses is said where their kind is.
    Floor { module: "event", below: &["clock", "twilio::kind", "sendgrid::kind"], absent: PURE },
    Floor { module: "twilio", below: &["clock", "event", "sendgrid::kind"], absent: PURE },
    Floor {
        module: "sendgrid",
        below: &["clock", "event", "twilio", "dispatch::recipient"],
        absent: PURE,
    },
    // What is decided about sending; the stores keep its words.
    Floor {
        module: "dispatch",
        below: &["clock", "event", "twilio", "sendgrid::error"],
        absent: PURE,
    },
    // The one value that can wait: for a while, or until a token is cancelled.
    Floor { module: "retry", below: &[], absent: NEUTRAL },
    Floor { module: "pipeline", below: &["clock", "retry", "event", "twilio"], absent: NEUTRAL },
    Floor { module: "policy", below: &["twilio", "sendgrid"], absent: PURE },
    Floor { module: "recent", below: &["clock", "event", "pipeline"], absent: NEUTRAL },
    Floor { module: "metrics", below: &["labels"], absent: NEUTRAL },
    // Who tries knows what to say, so it logs nothing itself.
    Floor { module: "outage", below: &[], absent: PURE },
    Floor { module: "shutdown", below: &[], absent: NEUTRAL },
    Floor { module: "tasks", below: &[], absent: NEUTRAL },
    Floor { module: "spans", below: &["clock", "event", "pipeline"], absent: NEUTRAL },
    Floor {
        module: "backend",
        below: &["clock", "retry", "event", "twilio", "sendgrid", "dispatch", "pipeline"],
        absent: NO_HTTP,
    },
    // What both databases share; it knows neither of them.
    Floor {
        module: "backend::sql",
        below: &["clock", "event", "twilio", "sendgrid", "dispatch", "pipeline", "backend"],
        absent: &[
            "redis",
            "crate::backend::redis",
            "crate::backend::local_log",
            "crate::backend::postgres",
            "crate::backend::sqlite",
        ],
    },
    // Values: how they become SQL is for `backend::sql` to know.
    Floor { module: "backend::forwards", below: &["clock"], absent: PURE },
    Floor { module: "backend::outbox", below: &["clock", "event", "dispatch"], absent: PURE },
    Floor { module: "backend::copy", below: &["clock", "event", "twilio"], absent: PURE },
    Floor { module: "backend::search", below: &["clock", "event", "twilio"], absent: PURE },
    Floor {
        module: "backend::redis",
        below: ANYTHING,
        absent: &["sqlx", "crate::backend::postgres", "crate::backend::sqlite"],
    },
    Floor {
        module: "backend::postgres",
        below: ANYTHING,
        absent: &["redis", "crate::backend::redis", "crate::backend::sqlite"],
    },
    Floor {
        module: "backend::sqlite",
        below: ANYTHING,
        absent: &["redis", "crate::backend::redis", "crate::backend::postgres"],
    },
    Floor {
        module: "http",
        below: &["clock", "retry", "event", "twilio", "pipeline"],
        absent: NO_BACKEND,
    },
    Floor {
        module: "inbound",
        below: &[
            "clock", "retry", "event", "twilio", "sendgrid", "pipeline", "metrics", "policy",
            "recent", "spans", "http",
        ],
        absent: NO_BACKEND,
    },
    Floor {
        module: "worker",
        below: &["clock", "retry", "event", "twilio", "pipeline"],
        absent: NO_BACKEND,
    },
    // What is sent where, and what signs it; which database remembers it is for the backend to know.
    Floor {
        module: "forward",
        below: &[
            "clock", "retry", "event", "twilio", "pipeline", "metrics", "policy", "http", "backend",
        ],
        absent: NO_BACKEND,
    },
    Floor {
        module: "forward::form",
        below: &["clock", "event", "twilio", "forward::target"],
        absent: PURE,
    },
    // What may be sent now, of values alone.
    Floor { module: "forward::window", below: &["backend::forwards"], absent: PURE },
    // What is asked of Twilio's API; which database remembers it is for the backend to know.
    Floor {
        module: "outbound",
        below: &[
            "clock", "retry", "event", "twilio", "sendgrid", "dispatch", "pipeline", "metrics",
            "outage", "policy", "http", "spans", "backend",
        ],
        absent: NO_BACKEND,
    },
    Floor { module: "outbound::config", below: &["dispatch"], absent: PURE },
    // Each chore looks after one backend, so it knows that one by its type; but not how to speak to it.
    Floor {
        module: "upkeep",
        below: &["clock", "retry", "event", "twilio", "pipeline", "metrics", "outage", "backend"],
        absent: &["sqlx", "redis", "axum", "hyper", "anyhow"],
    },
    // It moves rows from one backend into another, and stores what waits as a server's start would.
    Floor {
        module: "copy",
        below: &[
            "clock",
            "retry",
            "event",
            "pipeline",
            "outage",
            "backend",
            "upkeep::checkpoint",
            "upkeep::old_spool",
        ],
        absent: &["sqlx", "redis", "axum", "hyper", "anyhow", "crate::backend::redis"],
    },
    // What is held of both sides against each other, of values alone.
    Floor {
        module: "copy::check",
        below: &["clock", "event", "backend::copy", "copy"],
        absent: PURE,
    },
    // What it reads is handed to it, in types that name no backend.
    Floor {
        module: "admin",
        below: &[
            "clock", "retry", "event", "twilio", "dispatch", "pipeline", "metrics", "policy",
            "recent", "http", "backend",
        ],
        absent: NO_BACKEND,
    },
    // It tries the program out from outside: by HTTP, by signals, and by what the stores hold.
    Floor {
        module: "lab",
        below: &["clock", "event", "twilio", "sendgrid", "dispatch", "http::client", "backend"],
        absent: &["axum", "hyper", "prometheus"],
    },
];

/// The only modules that may import `lab`, beside the tests.
const USERS_OF_THE_LAB: &[&str] = &["cli", "lab"];

/// Said by the floor of the module that it is in.
const ANYTHING: &[&str] = &["*"];

#[test]
fn every_module_imports_only_what_lies_below_it() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (module, text) in sources(Path::new("src"), "") {
        for import in imports(&module, &text) {
            seen += 1;
            let floors = FLOORS.iter().filter(|floor| is_in(&module, floor.module));
            wrong.extend(
                floors.filter(|floor| !floor.takes(&import)).map(|_| format!("{module}: {import}")),
            );
        }
    }
    assert!(seen > 500, "the sources are not read: {seen} imports");
    assert!(wrong.is_empty(), "imports that the floors do not allow:\n{}", wrong.join("\n"));
}

impl Floor {
    fn takes(&self, import: &str) -> bool {
        if self.absent.iter().any(|absent| is_in(import, absent)) {
            return false;
        }
        let Some(ours) = import.strip_prefix("crate::") else { return true };
        let mut known = self.below.iter().chain([&self.module]).chain(EVERYWHERE);
        self.below == ANYTHING || known.any(|module| is_in(ours, module))
    }
}

/// What waits, or tries again, needs a test, and so belongs lower.
#[test]
fn the_assembly_only_assembles() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (module, text) in sources(Path::new("src"), "") {
        if !is_in(&module, "app") {
            continue;
        }
        seen += 1;
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        let waits =
            |line: &str| ["loop {", "while ", "select!"].iter().any(|what| line.contains(what));
        wrong.extend(
            code.filter(|line| waits(line)).map(|line| format!("{module}: {}", line.trim())),
        );
    }
    assert!(seen > 4, "the sources are not read: {seen} files");
    assert!(wrong.is_empty(), "loops in the assembly:\n{}", wrong.join("\n"));
}

/// Who may take the machine's clock: where a server is configured and where a command begins. Everyone else is given
/// a clock.
const BEGINNINGS: &[&str] = &["clock", "config", "cli", "lab", "torture"];

#[test]
fn time_is_an_argument() {
    let sources = sources(Path::new("src"), "");
    let takes = |text: &str| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        code.lines()
            .any(|line| line.split("//").next().unwrap_or_default().contains("Clock::System"))
    };
    let begins = |module: &str| BEGINNINGS.iter().any(|beginning| is_in(module, beginning));
    let taken = sources.iter().filter(|(module, text)| takes(text) && !begins(module));
    let wrong: Vec<&str> = taken.map(|(module, _)| module.as_str()).collect();
    assert!(sources.iter().any(|(module, text)| module.starts_with("config") && takes(text)));
    assert!(wrong.is_empty(), "these take the machine's clock: {wrong:?}");
}

/// Whether a path is this one, or below it.
fn is_in(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every file but those of tests, by the path of its module.
fn sources(directory: &Path, module: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the sources are there").flatten() {
        let path = entry.path();
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let inner = if module.is_empty() { name.clone() } else { format!("{module}::{name}") };
        if name == "tests" {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path, &inner));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((inner, std::fs::read_to_string(&path).expect("it is text")));
        }
    }
    found
}

/// The paths that a file imports, or names in full, outside of its tests.
fn imports(module: &str, text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> =
        text.lines().map(|line| line.split("//").next().unwrap_or_default().trim()).collect();
    let code = code.join(" ");
    let mut found = Vec::new();
    for part in code.split("use ").skip(1) {
        expand("", part.split(';').next().unwrap_or_default(), &mut found);
    }
    for part in code.split("crate::").skip(1) {
        let path = part.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').next();
        found.push(format!("crate::{}", path.unwrap_or_default().trim_end_matches(':')));
    }
    found.retain(|path| path != "crate::");
    found.iter().map(|path| absolute(module, path)).collect()
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d` and `a::c::e`.
fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((start, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        if !path.is_empty() {
            found.push(format!("{prefix}{path}").trim_end_matches("::self").to_owned());
        }
        return;
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut from) = (0_i32, 0);
    let prefix = format!("{prefix}{}", start.trim());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &inner[from..at], found);
                from = at + 1;
            }
            _ => {}
        }
    }
    expand(&prefix, &inner[from..], found);
}

/// With `self::` and `super::` resolved.
fn absolute(module: &str, path: &str) -> String {
    let mut base: Vec<&str> = module.split("::").collect();
    let mut rest = path;
    let mut relative = false;
    loop {
        if let Some(inner) = rest.strip_prefix("self::") {
            (rest, relative) = (inner, true);
        } else if let Some(outer) = rest.strip_prefix("super::") {
            base.pop();
            (rest, relative) = (outer, true);
        } else {
            break;
        }
    }
    match relative {
        true => [&["crate"], &base[..], &[rest]].concat().join("::"),
        false => rest.to_owned(),
    }
}

#[test]
fn only_the_commands_import_the_lab() {
    let mut wrong = Vec::new();
    for (module, text) in sources(Path::new("src"), "") {
        let may = USERS_OF_THE_LAB.iter().any(|user| is_in(&module, user));
        let imports = imports(&module, &text);
        let of_the_lab = imports.iter().filter(|import| is_in(import, "crate::lab"));
        wrong.extend(of_the_lab.filter(|_| !may).map(|import| format!("{module}: {import}")));
    }
    assert!(wrong.is_empty(), "imports of the lab:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_understands_what_is_written() {
    let text = "use std::fs;\npub(crate) use super::{a, b::{C as D, self}};\n\
                use self::x::Y; // use crate::comment;\nfn f() { crate::z::w(); }\n\
                #[cfg(test)]\nuse crate::test;";
    let expected = ["std::fs", "crate::m::a", "crate::m::b::C", "crate::m::b", "crate::m::n::x::Y"];
    assert_eq!(imports("m::n", text), [&expected[..], &["crate::z::w"]].concat());
}
