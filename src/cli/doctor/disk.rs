//! The disk that offhook writes to: a receiver's spool, or the embedded store.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::config::LocalLog;

/// What Linux calls file systems that do not outlive a container, or the machine.
const OVERLAY: u64 = 0x794c_7630;
const TMPFS: u64 = 0x0102_1994;
const MIB: u64 = 1024 * 1024;

pub(super) fn look_at_spool(spool: &LocalLog) -> Vec<Finding> {
    let needed = spool.bounds.max_bytes.saturating_add(spool.bounds.min_free_bytes);
    look("spool", &spool.directory, needed, spool.bounds.min_free_bytes)
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
    let whole = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
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
        let fix =
            "give it a whole path: a server that is started in another directory uses another";
        let text = format!("its path, {}, goes by where offhook is started", directory.display());
        findings.push(Finding::warning(subject, text, fix));
    }
    let Ok(disk) = rustix::fs::statvfs(&place) else { return findings };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let text = format!("{} MiB are free", free / MIB);
    findings.push(if free < least {
        Finding::failure(subject, text, "free some, or use another disk: nothing would be taken")
    } else if free < wanted {
        let fix = format!("{} MiB would be needed if it were used to its bound", wanted / MIB);
        Finding::warning(subject, text, fix)
    } else {
        Finding::ok(subject, text)
    });
    findings.extend(lasting(subject, &place));
    findings
}

/// The directory, or what of its path is there: offhook makes the rest.
fn existing(directory: &Path) -> PathBuf {
    let there = directory.ancestors().find(|path| path.is_dir());
    there.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(target_os = "linux")]
fn lasting(subject: &'static str, place: &Path) -> Option<Finding> {
    let kind = rustix::fs::statfs(place).ok()?.f_type.cast_unsigned();
    let what = match kind {
        OVERLAY => "it lies in the container itself, and goes away with it",
        TMPFS => "it lies in memory, and goes away with the machine",
        _ => return Some(Finding::ok(subject, "its disk outlives the process")),
    };
    Some(Finding::warning(subject, what, "mount a volume there"))
}

#[cfg(not(target_os = "linux"))]
fn lasting(_: &'static str, _: &Path) -> Option<Finding> {
    None
}
