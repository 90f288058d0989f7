//! The disk that offhook writes to: the local log, and the embedded store.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::backend::local_log::{absolute, volatile};
use crate::config::LocalLog;

const MIB: u64 = 1024 * 1024;

pub(super) fn look_at_log(log: &LocalLog) -> Vec<Finding> {
    let needed = log.bounds.max_bytes.saturating_add(log.bounds.min_free_bytes);
    look("local log", &log.directory, needed, log.bounds.min_free_bytes)
}

pub(super) fn look_at_store(url: &str) -> Vec<Finding> {
    /// Hours of a busy system; offhook itself needs next to nothing.
    const WANTED: u64 = 1024 * MIB;
    const LEAST: u64 = 64 * MIB;
    let path = path_of(url);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    look("store", directory.unwrap_or(Path::new(".")), WANTED, LEAST)
}

/// The file of a `sqlite:` URL.
pub(super) fn path_of(url: &str) -> PathBuf {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    path.split('?').next().unwrap_or_default().into()
}

fn look(subject: &'static str, directory: &Path, wanted: u64, least: u64) -> Vec<Finding> {
    // As the server would find it that is started where we stand.
    let whole = absolute(directory);
    let place = existing(&whole);
    let shown = whole.display();
    let written = tempfile::Builder::new().prefix(".doctor").tempfile_in(&place);
    let mut findings = vec![match written {
        Ok(_) => Finding::ok(subject, format!("its directory can be written: {shown}")),
        Err(error) => Finding::failure(
            subject,
            format!("{shown} cannot be written: {error}"),
            "give it to the user that offhook runs as",
        ),
    }];
    if directory.is_relative() {
        let fix = "make it absolute: a server that is started elsewhere uses another directory";
        let text =
            format!("its path, {}, is relative to where offhook is started", directory.display());
        findings.push(Finding::warning(subject, text, fix));
    }
    let Ok(disk) = rustix::fs::statvfs(&place) else { return findings };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let text = format!("{} MiB are free", free / MIB);
    findings.push(if free < least {
        Finding::failure(
            subject,
            text,
            "free some space, or use another disk: as it is, callbacks are refused",
        )
    } else if free < wanted {
        let fix =
            format!("it may grow to {} MiB: free some space, or use another disk", wanted / MIB);
        Finding::warning(subject, text, fix)
    } else {
        Finding::ok(subject, text)
    });
    findings.push(lasting(subject, &place));
    findings
}

/// The directory, or what of its path is there: offhook makes the rest.
fn existing(directory: &Path) -> PathBuf {
    let there = directory.ancestors().find(|path| path.is_dir());
    there.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn lasting(subject: &'static str, place: &Path) -> Finding {
    match volatile(place) {
        Some(what) => Finding::warning(subject, what, "mount a volume there"),
        None => Finding::ok(subject, "its disk outlives the process"),
    }
}
