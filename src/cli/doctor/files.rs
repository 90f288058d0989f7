//! Files: how many may be open, and who else can read or change those that are ours.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Finding;
use crate::config::{Config, StoreUrl};
use crate::process::{self, Connections};

const SUBJECT: &str = "files";
/// Of a mode: others than the owner may read, or write.
const READ_BY_OTHERS: u32 = 0o044;
const WRITTEN_BY_OTHERS: u32 = 0o022;

pub(super) fn look(path: Option<&Path>, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.deployment.receives() {
        findings.push(descriptors(config.inbound.limits.max_connections));
    }
    findings.extend(path.and_then(secrets));
    let log = config.deployment.local_log().map(|log| log.directory.join("settled"));
    let store = match config.deployment.store() {
        StoreUrl::Sqlite(url) => Some(super::disk::path_of(url)),
        StoreUrl::Postgres(_) => None,
    };
    let kept = store.into_iter().chain(log).collect::<Vec<_>>();
    findings.extend(kept.iter().flat_map(|path| whose(path)));
    findings
}

fn descriptors(wanted: usize) -> Finding {
    let files = process::most_files_prepared();
    let allowed = Connections::within(files, wanted).public;
    if allowed < wanted {
        let limit = files.unwrap_or_default();
        return Finding::warning(
            SUBJECT,
            format!("{limit} may be open, so {allowed} connections instead of {wanted}"),
            "raise the hard limit of open files (systemd: LimitNOFILE, Docker: --ulimit nofile, else \
             ulimit -Hn), or lower inbound.max_connections",
        );
    }
    Finding::ok(SUBJECT, format!("{wanted} connections fit the limit on open files"))
}

/// A configuration file with secrets in it, as opposed to files that it names.
fn secrets(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.mode();
    let text = std::fs::read_to_string(path).ok()?;
    let shown = path.display();
    if !text.lines().any(holds_a_secret) {
        return None;
    }
    if mode & READ_BY_OTHERS == 0 {
        return Some(Finding::ok(
            SUBJECT,
            format!("{shown} has secrets, and is read by its owner"),
        ));
    }
    let text = format!("{shown} has secrets in it, and others than its owner may read it");
    Some(Finding::warning(
        SUBJECT,
        text,
        format!("chmod 600 {shown}, or put secrets into files of their own"),
    ))
}

/// In a table of one line, too: `shared_keys = [{ id = "…", secret = "…" }]`, `admin = { token = "…" }`.
fn holds_a_secret(line: &str) -> bool {
    let is_comment = line.trim_start().starts_with('#');
    !is_comment && line.split(['{', ',']).any(is_a_secret)
}

fn is_a_secret(pair: &str) -> bool {
    let Some((name, value)) = pair.split_once('=') else { return false };
    let name = name.rsplit('.').next().unwrap_or_default();
    match name.trim_matches([' ', '\t', '"', '\'']) {
        "auth_tokens" | "shared_keys" | "secret" | "token" | "read_token" | "key" => true,
        // With a password.
        "url" => value.contains('@') || value.contains("pass"),
        _ => false,
    }
}

/// What callers said is in it.
fn whose(path: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mode = |path: &Path| std::fs::metadata(path).ok().map(|found| found.mode());
    if mode(path).is_some_and(|mode| mode & READ_BY_OTHERS != 0) {
        let shown = path.display();
        findings.push(Finding::warning(
            SUBJECT,
            format!("others than its owner may read {shown}"),
            format!("chmod 600 {shown}*: new ones are made so"),
        ));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    if mode(directory).is_some_and(|mode| mode & WRITTEN_BY_OTHERS != 0) {
        let shown = directory.display();
        findings.push(Finding::warning(
            SUBJECT,
            format!("others than its owner may write into {shown}, and so replace what is in it"),
            format!("chmod 700 {shown}, or use a directory of its own"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_secret_is_told_from_one_that_names_a_file() {
        for line in [
            "auth_tokens = ['x']",
            "  token='x'",
            "url = 'redis://:pw@h'",
            "key = 'x'",
            "admin.token = 'x'",
            "admin = { listen = '127.0.0.1:1', token = 'x' }",
            "account = [{ sid = 'AC1', \"auth_tokens\" = ['x'] }]",
            "url = 'redis+unix:///run/redis.sock?pass=x'",
        ] {
            assert!(holds_a_secret(line), "{line}");
        }
        for line in ["token_file = '/x'", "# token = 'x'", "url = 'redis://h'", "[admin]", ""] {
            assert!(!holds_a_secret(line), "{line}");
        }
    }
}
