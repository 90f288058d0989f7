//! A disk that fails to sync. What was answered before is there, nothing is answered after, and the
//! file is never written again: a second sync would succeed and prove nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use offhook::config::Role;
use reqwest::StatusCode;

use crate::harness::{Callback, Mode, Offhook, Settings, Spawned, Testbed, until};
use crate::services::{needs, run};

/// Fails every sync while the file named by `BROKEN_DISK` is there, and every write to a local log by the
/// number in the file named by `BROKEN_WRITES`.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int broken(void) {
    const char *path = getenv("BROKEN_DISK");
    return path && access(path, F_OK) == 0;
}
#define FAILING(name) \
    int name(int fd) { \
        if (broken()) { errno = EIO; return -1; } \
        int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, #name); \
        return real(fd); \
    }
FAILING(fsync)
FAILING(fdatasync)
static int refused(int fd) {
    const char *path = getenv("BROKEN_WRITES");
    FILE *file = path ? fopen(path, "r") : NULL;
    char link[64], name[PATH_MAX];
    int number = 0;
    if (!file) return 0;
    if (fscanf(file, "%d", &number) != 1) number = 0;
    fclose(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name);
    return length > 4 && !memcmp(name + length - 4, ".log", 4) ? number : 0;
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    int number = refused(fd);
    if (number) { errno = number; return -1; }
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t)) dlsym(RTLD_NEXT, "pwrite64");
    return real(fd, bytes, count, at);
}
"#;

/// Makes a library of it, to be loaded before all others.
fn shim(directory: &Path) -> String {
    let source = directory.join("shim.c");
    std::fs::write(&source, SHIM).expect("the directory is ours");
    let library = directory.join("shim.so");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
    run(&mut compile).expect("it compiles");
    library.display().to_string()
}

/// Settings with a disk that breaks when the file is there, or by what is in it.
fn shimmed(settings: &Settings, directory: &Path, variable: &str) -> (Settings, PathBuf) {
    let broken = directory.join("broken");
    let settings = settings.clone().set("LD_PRELOAD", shim(directory));
    (settings.set(variable, broken.display().to_string()), broken)
}

async fn refuses(offhook: &Spawned, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let answer = offhook.client.send(&Callback::call(n).0).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

async fn is_not_ready_for(offhook: &Spawned, dependency: &str) {
    let (code, readiness) = offhook.client.json("/readyz").await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE, "{readiness}");
    let dependencies = readiness["dependencies"].as_array().expect("a list");
    let found = dependencies.iter().find(|found| found["name"] == dependency).expect("it is there");
    let error = found["error"].as_str().expect("it says why");
    assert!(error.contains("could not be synced"), "{error}");
}

#[tokio::test]
async fn a_spool_whose_disk_fails_to_sync_acks_nothing_more_until_it_is_started_again() {
    needs!(all & [Mode::ScaleOut.needs(), &[crate::services::Need::Cc]].concat());
    let mut testbed = Testbed::of(Mode::ScaleOut);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spool = directory.path().join("spool").display().to_string();
    let settings = testbed.role(Role::Receiver).set("OFFHOOK_SPOOL__DIRECTORY", spool);
    let (shimmed, broken) = shimmed(&settings, directory.path(), "BROKEN_DISK");
    testbed.redis().kill();
    let receiver = Spawned::start(&shimmed);
    let keys = receiver.client.accepts_calls(0..5).await;
    std::fs::write(&broken, "").expect("the directory is ours");
    refuses(&receiver, 10..12).await;
    is_not_ready_for(&receiver, "spool_disk").await;
    // The disk says that it works again. What it lost in between it does not say.
    std::fs::remove_file(&broken).expect("it is there");
    refuses(&receiver, 12..15).await;
    is_not_ready_for(&receiver, "spool_disk").await;
    receiver.kill();

    testbed.redis().restart();
    let _receiver = Spawned::start(&settings);
    let _worker = Offhook::start(&testbed.role(Role::Worker));
    testbed.contents_with(&keys).await;
}

#[tokio::test]
async fn with_a_broken_spool_callbacks_are_taken_as_long_as_redis_takes_them() {
    needs!(all & [Mode::ScaleOut.needs(), &[crate::services::Need::Cc]].concat());
    let mut testbed = Testbed::of(Mode::ScaleOut);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (shimmed, broken) = shimmed(&testbed.settings, directory.path(), "BROKEN_DISK");
    let offhook = Spawned::start(&shimmed);
    let mut keys = offhook.client.accepts_calls(0..5).await;
    testbed.redis().kill();
    std::fs::write(&broken, "").expect("the directory is ours");
    refuses(&offhook, 10..12).await;
    testbed.redis().restart();
    let (callback, key) = Callback::call(20);
    until("Redis takes it, with nothing behind it", async || {
        (offhook.client.send(&callback).await.status() == StatusCode::OK).then_some(())
    })
    .await;
    keys.push(key);
    keys.extend(offhook.client.accepts_calls(21..25).await);
    is_not_ready_for(&offhook, "spool_disk").await;
    testbed.contents_with(&keys).await;
}

#[tokio::test]
async fn an_embedded_store_whose_disk_fails_to_sync_acks_nothing_more_until_it_is_started_again() {
    needs!(Cc);
    let testbed = Testbed::embedded();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (shimmed, broken) = shimmed(&testbed.settings, directory.path(), "BROKEN_DISK");
    let offhook = Spawned::start(&shimmed);
    let mut keys = offhook.client.accepts_calls(0..5).await;
    std::fs::write(&broken, "").expect("the directory is ours");
    refuses(&offhook, 10..12).await;
    std::fs::remove_file(&broken).expect("it is there");
    refuses(&offhook, 12..15).await;
    is_not_ready_for(&offhook, "spool_disk").await;
    offhook.kill();
    let offhook = Spawned::start(&testbed.settings);
    keys.extend(offhook.client.accepts_calls(20..25).await);
    testbed.contents_with(&keys).await;
}

#[tokio::test]
async fn a_full_disk_refuses_until_there_is_room_and_one_that_is_read_only_until_the_next_start() {
    /// `ENOSPC` and `EROFS`.
    const FULL: &str = "28";
    const READ_ONLY: &str = "30";
    needs!(Cc);
    let testbed = Testbed::embedded();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (shimmed, broken) = shimmed(&testbed.settings, directory.path(), "BROKEN_WRITES");
    let offhook = Spawned::start(&shimmed);
    let mut keys = offhook.client.accepts_calls(0..5).await;
    std::fs::write(&broken, FULL).expect("the directory is ours");
    refuses(&offhook, 10..12).await;
    std::fs::remove_file(&broken).expect("it is there");
    keys.extend(offhook.client.accepts_calls(12..15).await);
    std::fs::write(&broken, READ_ONLY).expect("the directory is ours");
    refuses(&offhook, 20..22).await;
    std::fs::remove_file(&broken).expect("it is there");
    refuses(&offhook, 22..24).await;
    is_not_ready_for(&offhook, "spool_disk").await;
    offhook.kill();
    let offhook = Spawned::start(&testbed.settings);
    keys.extend(offhook.client.accepts_calls(30..35).await);
    testbed.contents_with(&keys).await;
}
