//! The unit of systemd: it is hardened, offhook takes what it is told there, and says when it is
//! ready, also after a reload.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use offhook::config::{Config, Role, Sources};

use super::read;
use crate::harness::{ACCOUNT, DEADLINE, Spawned, Testbed};
use crate::services::{Signal, tool};

const UNIT: &str = "config/systemd/offhook.service";

/// The unit as it is once it is installed, with the program that was built.
fn installed() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let unit = read(UNIT).replace("/usr/local/bin/offhook", env!("CARGO_BIN_EXE_offhook"));
    std::fs::write(directory.path().join("offhook.service"), unit).expect("the directory is ours");
    directory
}

#[test]
fn systemd_takes_the_unit_and_finds_it_hardened() {
    let program = tool!(optional "systemd-analyze");
    let unit = installed();
    // Out of 100, less being better; most services have above 90.
    let security = ["security", "--offline=true", "--threshold=15", "offhook.service"];
    for arguments in [&["verify", "offhook.service"][..], &security] {
        let unit = unit.path();
        let output = Command::new(&program).args(arguments).current_dir(unit).output();
        let output = output.expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let table = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}:\n{said}{table}");
        assert!(!said.contains("offhook.service:"), "{said}");
    }
}

#[test]
fn offhook_takes_what_the_unit_says() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let credentials = directory.path().display().to_string();
    let unit = read(UNIT);
    for line in unit.lines().filter_map(|line| line.strip_prefix("LoadCredential=")) {
        let (name, _) = line.split_once(':').expect("a name and a path");
        std::fs::write(directory.path().join(name), "secret").expect("the directory is ours");
    }
    let given = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    let given = given.filter_map(|line| line.split_once('='));
    let given = given.map(|(name, value)| (name.to_owned(), value.replace("%d", &credentials)));
    // The two that its header says to put into the file.
    let own =
        [("TWILIO_ACCOUNT_SID", ACCOUNT), ("OFFHOOK_PUBLIC_URL", "https://hooks.example.com")];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sources = Sources { file: None, environment: given.chain(own).collect() };
    Config::load(&sources, Role::All).expect("it is complete");
}

#[tokio::test]
async fn systemd_is_told_when_it_is_ready_when_it_reloads_and_when_it_stops() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("the directory is ours");
    socket.set_read_timeout(Some(DEADLINE)).expect("a time above zero");
    let hear = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("it says something");
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let testbed = Testbed::embedded();
    let settings = testbed.settings.clone().set("NOTIFY_SOCKET", path.display().to_string());
    let mut offhook = Spawned::start(&settings);
    assert_eq!(hear(), "READY=1");
    offhook.signal(Signal::Hangup);
    let reloading = hear();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let since = since.and_then(|since| since.parse::<u64>().ok());
    assert!(since.is_some_and(|since| since > 0), "{reloading}");
    assert_eq!(hear(), "READY=1");
    offhook.signal(Signal::Terminate);
    assert_eq!(hear(), "STOPPING=1");
    assert!(offhook.wait().success());
}
