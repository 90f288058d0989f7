//! The samples of `docs/samples`, run as they are: each reads everything, also over its own `kill -9`.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use offhook::clock::Clock;
use offhook::event::codec::{ATTEMPT, FIELDS, TRACEPARENT};
use offhook::forward::form::standard::Secrets;
use secrecy::SecretString;
use serde_json::Value;

use crate::harness::{ACCOUNT, Callback, DEADLINE, Offhook, Testbed, install_cryptography, until};
use crate::services::{Durability, Process, Signal, free_port, guarded, needs, tool};

const TOKEN: &str = "a-token-of-32-characters-0000000";
const READ_TOKEN: &str = "a-read-token-of-32-characters-00";

/// A sample that runs.
struct Sample {
    process: Process,
    lines: Receiver<String>,
}

impl Sample {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = Process::spawn(command, Signal::Kill).expect("the interpreter is there");
        let out = process.child().stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        // Ends with the process, whose end of the pipe is then closed.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { process, lines }
    }

    /// What it reads next, so many of them.
    fn next(&self, count: usize) -> Vec<Value> {
        let line = |_| {
            let line = self.lines.recv_timeout(DEADLINE).expect("the sample prints what it reads");
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        (0..count).map(line).collect()
    }

    /// What it reads until it has read all of these. An entry may come twice, as after a time-out of Redis.
    fn until(&self, keys: &BTreeSet<String>) -> Vec<Value> {
        let (mut all, mut read) = (Vec::new(), BTreeSet::new());
        while !read.is_superset(keys) {
            let next = self.next(1);
            read.extend(self::keys(&next));
            all.extend(next);
        }
        all
    }
}

fn path(sample: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samples").join(sample)
}

/// Calls, each with the id of an order, and the keys of their events.
async fn send(offhook: &Offhook, numbers: std::ops::Range<usize>) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for number in numbers {
        let (callback, key) = Callback::call(number);
        let query = format!("order_id=A-{}", number % 4);
        offhook.client.accepts(&callback.with_query(&query)).await;
        keys.insert(key);
    }
    keys
}

fn keys(read: &[Value]) -> BTreeSet<String> {
    read.iter().map(|change| change["key"].as_str().expect("a key").to_owned()).collect()
}

/// A sample reads what was sent before it began, what is sent while it runs, and, when it is started again after a
/// `kill -9`, what was sent meanwhile. What it read first.
async fn reads_all(offhook: &Offhook, start: impl Fn() -> Sample) -> Vec<Value> {
    let sent = send(offhook, 0..3).await;
    let mut sample = start();
    let first = sample.until(&sent);
    sample.until(&send(offhook, 3..6).await);
    sample.process.kill();
    let sent = send(offhook, 6..9).await;
    start().until(&sent);
    first
}

/// A sample that asks the admin listener, with the token that may only look.
async fn a_reader_over_http_reads_all(interpreter: &Path, sample: &str) {
    let mut testbed = Testbed::embedded();
    let settings = testbed.settings.clone();
    let settings = settings.set("OFFHOOK_ADMIN__TOKEN", TOKEN);
    testbed.settings = settings.set("OFFHOOK_ADMIN__READ_TOKEN", READ_TOKEN);
    let offhook = testbed.start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("http://{}", offhook.client.admin_address());
    let read = reads_all(&offhook, || {
        let mut command = guarded(interpreter, Signal::Kill);
        command.arg(path(sample)).arg(directory.path().join("cursor.txt"));
        command.env("OFFHOOK_URL", &url).env("OFFHOOK_TOKEN", READ_TOKEN);
        Sample::start(&mut command)
    })
    .await;
    assert_eq!(read[0]["own"]["order_id"], "A-0", "{read:?}");
    assert_eq!((&read[0]["status"], &read[0]["moved"]), (&"completed".into(), &true.into()));
}

#[tokio::test]
async fn long_polls_in_python_read_all() {
    a_reader_over_http_reads_all(&tool!("python3"), "feed_poll.py").await;
}

#[tokio::test]
async fn long_polls_in_javascript_read_all() {
    a_reader_over_http_reads_all(&tool!("node"), "feed_poll.mjs").await;
}

#[tokio::test]
async fn server_sent_events_in_python_read_all() {
    a_reader_over_http_reads_all(&tool!("python3"), "feed_events.py").await;
}

#[tokio::test]
async fn server_sent_events_in_javascript_read_all() {
    a_reader_over_http_reads_all(&tool!("node"), "feed_events.mjs").await;
}

/// A sample that reads the Redis stream. Nobody else does, so that what it did not ack would be seen.
async fn a_group_of_ones_own_reads_all(interpreter: &Path, sample: &str) {
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let offhook = testbed.start();
    let socket = testbed.redis().socket();
    // What is not offhook's is acked and passed over.
    let mut foreign = redis::cmd("XADD");
    testbed
        .redis()
        .query::<String>(foreign.arg("offhook:events").arg("*").arg("some").arg("thing"));
    let start = || {
        let mut command = guarded(interpreter, Signal::Kill);
        command.arg(path(sample)).args(["shop", "worker-1"]).env("OFFHOOK_REDIS", &socket);
        Sample::start(&mut command)
    };
    let read = reads_all(&offhook, &start).await;
    assert_eq!(read[0]["query"], "order_id=A-0", "{read:?}");
    assert_eq!(read[0]["params"]["CallStatus"], "completed", "{read:?}");
    assert_eq!(read[0]["about_account"], Value::Null, "{read:?}");
    // The last one may have ended between its work and its ack: the next takes that up.
    let _sample = start();
    let summary = redis::cmd("XPENDING").arg("offhook:events").arg("shop").to_owned();
    until("everything is acked", async || {
        let (pending, ..): (u64, redis::Value, redis::Value, redis::Value) =
            testbed.redis().query(&summary);
        (pending == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_group_in_python_reads_all() {
    needs!(Redis, Postgres);
    a_group_of_ones_own_reads_all(&tool!("python3"), "stream.py").await;
}

#[tokio::test]
async fn a_group_in_javascript_reads_all() {
    needs!(Redis, Postgres);
    a_group_of_ones_own_reads_all(&tool!("node"), "stream.mjs").await;
}

#[tokio::test]
async fn a_reader_in_sql_counts_each_change_once() {
    needs!(Postgres);
    let psql = tool!("psql");
    let mut testbed = Testbed::direct(Durability::Unsynced);
    let offhook = testbed.start();
    let url = testbed.postgres().url();
    let step = || {
        let mut command = Command::new(&psql);
        command.arg(&url).args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
        let ended = command.arg(format!("--file={}", path("feed.sql").display())).output();
        let ended = ended.expect("psql is there");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    // A direct deployment makes its tables while it starts.
    let made = async || testbed.try_column("SELECT offhook_cursor()").await;
    until("the tables are there", made).await;
    step();
    let all_read = async |count: usize| {
        until("all are read", async || {
            step();
            let counts = testbed.column("SELECT sum(changes)::text FROM shop_orders").await;
            (counts == [count.to_string()]).then_some(())
        })
        .await;
    };
    for numbers in [0..6, 6..12] {
        send(&offhook, numbers.clone()).await;
        all_read(numbers.end).await;
    }
    // Of another call of an order nothing is known yet but that it asked for TwiML.
    let asks = format!("CallSid=CA{:032x}&AccountSid={ACCOUNT}&CallStatus=ringing", 99);
    offhook.client.accepts(&Callback::form(asks).with_query("order_id=A-0")).await;
    all_read(13).await;
    let orders = testbed.column(
        "SELECT concat_ws(' ', order_id, status, changes) FROM shop_orders ORDER BY order_id",
    );
    let expected = ["A-0 completed 4", "A-1 completed 3", "A-2 completed 3", "A-3 completed 3"];
    assert_eq!(orders.await, expected);
}

/// A sample that forwarded changes are sent to.
async fn a_receiver_takes_what_is_signed(interpreter: &Path, sample: &str) {
    const SECRETS: [&str; 2] = [
        "whsec_b2xkIHNlY3JldCBvZiAzMiBieXRlcyAuLi4uLi4uLi4=",
        "whsec_bmV3IHNlY3JldCBvZiAzMiBieXRlcyAuLi4uLi4uLi4=",
    ];
    let port = free_port();
    let mut command = guarded(interpreter, Signal::Kill);
    command.arg(path(sample)).arg(port.to_string()).env("OFFHOOK_SECRET", SECRETS[1]);
    let receiver = Sample::start(&mut command);
    let secrets = |secrets: &[&str]| {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| (*secret).into()).collect();
        Secrets::new(&secrets).expect("they are secrets")
    };
    install_cryptography();
    let http = reqwest::Client::new();
    let post = async |id: &str, at: i64, body: &'static str, secrets: &Secrets| {
        let request = http.post(format!("http://127.0.0.1:{port}/"));
        let signature = secrets.sign(id, at, body.as_bytes());
        let request = request.header("webhook-id", id).header("webhook-timestamp", at);
        let request = request.header("webhook-signature", signature).body(body);
        request.send().await.ok().map(|answer| answer.status().as_u16())
    };
    let now = Clock::System.now().micros() / 1_000_000;
    let (both, old) = (secrets(&SECRETS), secrets(&SECRETS[..1]));
    let body = r#"{"type":"call.busy","data":{"id":7,"key":"CA1-busy"}}"#;
    let answer = until("it listens", async || post("evt_1", now, body, &both).await).await;
    assert_eq!(answer, 204);
    assert_eq!(receiver.next(1), [serde_json::json!({ "id": "evt_1", "key": "CA1-busy" })]);
    assert_eq!(post("evt_2", now, body, &old).await, Some(401), "another secret");
    assert_eq!(post("evt_3", now - 3600, body, &both).await, Some(401), "long ago");
    assert_eq!(post("evt_4", now, "no JSON", &both).await, Some(500));
    assert_eq!(post("evt_5", now, body, &both).await, Some(204));
    assert_eq!(receiver.next(1)[0]["id"], "evt_5", "nothing of what was refused");

    let testbed = Testbed::embedded();
    let file = testbed.directory().join("offhook.toml");
    let forward = format!(
        "[[forward]]\nname = \"app\"\nurl = \"http://127.0.0.1:{port}/\"\nform = \"standard\"\n\
         secrets = {SECRETS:?}\nfrom = \"start\"\n"
    );
    std::fs::write(&file, forward).expect("it is ours");
    let settings = testbed.settings.clone();
    let offhook = Offhook::start(&settings.set("OFFHOOK_CONFIG", file.display().to_string()));
    let sent = send(&offhook, 0..3).await;
    let mut read = BTreeSet::new();
    while !read.is_superset(&sent) {
        read.extend(keys(&receiver.next(1)));
    }
}

#[tokio::test]
async fn a_receiver_in_python_takes_what_is_signed() {
    a_receiver_takes_what_is_signed(&tool!("python3"), "receive.py").await;
}

#[tokio::test]
async fn a_receiver_in_javascript_takes_what_is_signed() {
    a_receiver_takes_what_is_signed(&tool!("node"), "receive.mjs").await;
}

/// The format of an entry is a promise to those who read the stream.
#[test]
fn each_field_of_an_entry_is_on_the_page_in_its_order() {
    let page = std::fs::read_to_string(format!("{}/docs/consuming.md", env!("CARGO_MANIFEST_DIR")));
    let page = page.expect("it is there");
    let (_, section) = page.split_once("### An entry\n").expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), FIELDS);
    for later in [TRACEPARENT, ATTEMPT] {
        assert!(section.contains(&format!("`{later}`")), "{later}");
    }
}

/// Each is shown by the page, and each file is run here.
#[test]
fn each_sample_is_shown_and_run() {
    let read = |path: &Path| std::fs::read_to_string(path).expect("it is there");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = read(&root.join("docs/consuming.md"));
    let this = read(&root.join("tests/it/people/samples.rs"));
    let samples = std::fs::read_dir(root.join("docs/samples")).expect("a directory");
    let mut seen = 0;
    for sample in samples {
        let name = sample.expect("an entry").file_name().into_string().expect("a name");
        assert!(page.contains(&format!("(samples/{name})")), "the page does not show {name}");
        assert!(this.contains(&format!("\"{name}\"")), "no test runs {name}");
        seen += 1;
    }
    assert!(seen >= 9, "the samples are not read: {seen}");
}
