//! A disk that fails to sync. What was answered before is there, nothing is answered after, and the
//! file is never written again: a second sync would succeed and prove nothing.

use std::path::Path;
use std::process::Command;

use offhook::config::Role;
use reqwest::StatusCode;

use crate::harness::{Callback, Mode, Offhook, Spawned, Stage, until};
use crate::services::{needs, run};

/// Fails every sync while the file named by `BROKEN_DISK` is there.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
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
    let mut stage = Stage::of(Mode::ScaleOut);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broken = directory.path().join("broken");
    let spool = directory.path().join("spool").display().to_string();
    let settings = stage.role(Role::Receiver).set("OFFHOOK_SPOOL__DIRECTORY", spool);
    let shimmed = settings
        .clone()
        .set("LD_PRELOAD", shim(directory.path()))
        .set("BROKEN_DISK", broken.display().to_string());
    stage.redis().kill();
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

    stage.redis().restart();
    let _receiver = Spawned::start(&settings);
    let _worker = Offhook::start(&stage.role(Role::Worker));
    stage.contents_with(&keys).await;
}

#[tokio::test]
async fn with_a_broken_spool_callbacks_are_taken_as_long_as_redis_takes_them() {
    needs!(all & [Mode::ScaleOut.needs(), &[crate::services::Need::Cc]].concat());
    let mut stage = Stage::of(Mode::ScaleOut);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broken = directory.path().join("broken");
    stage.settings = stage
        .settings
        .clone()
        .set("LD_PRELOAD", shim(directory.path()))
        .set("BROKEN_DISK", broken.display().to_string());
    let offhook = Spawned::start(&stage.settings);
    let mut keys = offhook.client.accepts_calls(0..5).await;
    stage.redis().kill();
    std::fs::write(&broken, "").expect("the directory is ours");
    refuses(&offhook, 10..12).await;
    stage.redis().restart();
    let (callback, key) = Callback::call(20);
    until("Redis takes it, with nothing behind it", async || {
        (offhook.client.send(&callback).await.status() == StatusCode::OK).then_some(())
    })
    .await;
    keys.push(key);
    keys.extend(offhook.client.accepts_calls(21..25).await);
    is_not_ready_for(&offhook, "spool_disk").await;
    stage.contents_with(&keys).await;
}

#[tokio::test]
async fn an_embedded_store_whose_disk_fails_to_sync_acks_nothing_more_until_it_is_started_again() {
    needs!(Cc);
    let stage = Stage::embedded();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broken = directory.path().join("broken");
    let shimmed = stage
        .settings
        .clone()
        .set("LD_PRELOAD", shim(directory.path()))
        .set("BROKEN_DISK", broken.display().to_string());
    let offhook = Spawned::start(&shimmed);
    let mut keys = offhook.client.accepts_calls(0..5).await;
    std::fs::write(&broken, "").expect("the directory is ours");
    refuses(&offhook, 10..12).await;
    std::fs::remove_file(&broken).expect("it is there");
    refuses(&offhook, 12..15).await;
    is_not_ready_for(&offhook, "spool_disk").await;
    offhook.kill();
    let offhook = Spawned::start(&stage.settings);
    keys.extend(offhook.client.accepts_calls(20..25).await);
    stage.contents_with(&keys).await;
}
