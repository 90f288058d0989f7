//! The pictures of the documentation. `tests/screenshots` makes them anew; no other run does.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use reqwest::Url;
use serde_json::Value;

use super::console::{call, message, programs};
use crate::harness::{Client, Offhook, PUBLIC_URL, Settings, Testbed, program, until};
use crate::services::{Browser, Durability, Process, Signal, needs};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 1000;

/// What is seen becomes a picture of the documentation.
async fn keep(browser: &Browser, name: &str) {
    browser.screenshot(&format!("docs-{name}")).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seen = root.join(format!("target/screenshots/docs-{name}.png"));
    std::fs::copy(seen, root.join(format!("docs/images/{name}.png"))).expect("it can be written");
}

/// What a command printed, as a terminal shows it.
async fn keep_terminal(browser: &Browser, name: &str, command: &str, printed: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let page = directory.path().join("page.html");
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let html = format!(
        "<!doctype html><meta charset=utf-8><body style=\"margin:0;background:#1c2024\">\
         <pre style=\"display:inline-block;margin:0;padding:20px 24px;color:#d7dce1;font:14px/20px monospace\">\
         $ {}\n{}</pre>",
        escape(command),
        escape(printed.trim_end())
    );
    std::fs::write(&page, html).expect("the directory is ours");
    browser.screen(2000, 2000, false).await;
    browser.open(&format!("file://{}", page.display())).await;
    let size = "const place = document.querySelector('pre').getBoundingClientRect(); \
                return [Math.ceil(place.width), Math.ceil(place.height)];";
    let size = browser.run(size, &[]).await;
    let side = |place: usize| size[place].as_u64().and_then(|side| u32::try_from(side).ok());
    browser.screen(side(0).expect("a width"), side(1).expect("a height"), false).await;
    keep(browser, name).await;
    browser.screen(WIDTH, HEIGHT, false).await;
}

/// What a command prints on a terminal.
fn on_a_terminal(settings: &Settings, arguments: &[&str]) -> String {
    let of = program(settings, arguments);
    let line = std::iter::once(of.get_program()).chain(of.get_args());
    let line: Vec<_> = line.map(|word| format!("'{}'", word.display())).collect();
    let mut command = Command::new("script");
    command.args(["--quiet", "--command", &line.join(" "), "/dev/null"]).env_clear();
    command.envs(settings.environment()).env("PATH", env!("PATH")).env("COLUMNS", "140");
    let output = command.stdin(Stdio::null()).output().expect("script is there");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    without_colours(&text)
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |at| at + 1);
        plain.push_str(&part[end..]);
    }
    plain
}

/// `offhook demo`, which stays up, and where its console is.
fn demo() -> (Process, String, String) {
    let mut command = program(&Settings::none(), &["demo", "--seed", "17"]);
    let mut process = Process::spawn(&mut command, Signal::Terminate).expect("it starts");
    let printed = process.child().stdout.take().expect("it is piped");
    let mut table = String::new();
    for line in BufReader::new(printed).lines().map_while(Result::ok) {
        let found = line.trim().strip_suffix("/ in a browser");
        if let Some(base) = found {
            return (process, base.to_owned(), table);
        }
        table.push_str(&line);
        table.push('\n');
    }
    panic!("the demo has ended:\n{table}");
}

async fn json(url: &str) -> Value {
    let answer = reqwest::get(url).await.expect("the demo answers");
    let text = answer.text().await.expect("the whole answer");
    serde_json::from_str(&text).expect("JSON")
}

/// A SID of which something came out of order.
async fn out_of_order(base: &str, query: &str) -> String {
    let found = json(&format!("{base}/api/statuses?limit=100&{query}")).await;
    let rows = found["statuses"].as_array().expect("rows");
    let sids: Vec<&str> = rows.iter().filter_map(|row| row["sid"].as_str()).collect();
    for sid in &sids {
        let timeline = json(&format!("{base}/api/timeline/{sid}")).await;
        if timeline.to_string().contains("\"out_of_order\":true") {
            return (*sid).to_owned();
        }
    }
    sids.first().map_or_else(|| panic!("nothing for {query}"), |sid| (*sid).to_owned())
}

/// What an hour of traffic leaves.
async fn of_the_demo(browser: &Browser) {
    let (_process, base, table) = demo();
    let table = table.split("\nIt is still up").next().unwrap_or_default().to_owned();
    keep_terminal(browser, "demo", "offhook demo --exit", &table).await;
    browser.open(&format!("{base}/refusals")).await;
    keep(browser, "refusals").await;
    browser.screen(WIDTH, HEIGHT, true).await;
    browser.open(&format!("{base}/search?status=undelivered")).await;
    keep(browser, "search").await;
    browser.screen(WIDTH, HEIGHT, false).await;
    let message = out_of_order(&base, "kind=message&status=undelivered").await;
    browser.open(&format!("{base}/sid/{message}")).await;
    keep(browser, "timeline").await;
    let call = out_of_order(&base, "kind=call&status=completed").await;
    let command = ["inspect", &call, "--admin", &base];
    let printed = on_a_terminal(&Settings::none(), &command);
    keep_terminal(browser, "inspect", &format!("offhook inspect {call}"), &printed).await;
}

/// What waits for somebody.
async fn of_a_deployment(browser: &Browser) {
    let mut testbed = Testbed::scale_out(Durability::Synced);
    testbed.settings = testbed.settings.clone().with_a_forward();
    let offhook = testbed.start();
    let base = format!("http://{}", offhook.client.admin_address());
    offhook.client.accepts(&call(1, "completed")).await;
    offhook.client.accepts(&message(2, "MessageStatus=failed&ErrorCode=30003")).await;
    testbed.contents_of(2).await;
    until("its endpoint is seen to fail", async || {
        browser.open(&format!("{base}/forwards")).await;
        browser.text(".letters").await.filter(|text| text.contains("Every request has failed"))
    })
    .await;
    keep(browser, "forwards").await;
    let poison = "ALTER TABLE events ADD CONSTRAINT poison CHECK (status <> 'busy')";
    testbed.postgres().execute(poison).await;
    for number in 3..6 {
        offhook.client.accepts(&call(number, "busy")).await;
    }
    until("they are put aside", async || {
        browser.open(&format!("{base}/dead-letters")).await;
        browser.text(".letters").await.filter(|text| text.matches("busy").count() >= 3)
    })
    .await;
    keep(browser, "dead-letters").await;
}

/// A minute of a healthy one, and a doctor's visit at one that is not.
async fn of_a_healthy_deployment(browser: &Browser) {
    let testbed = Testbed::scale_out(Durability::Synced);
    let offhook = testbed.start();
    let url = format!("http://{}/status", offhook.client.inbound());
    let public = format!("--public-url={PUBLIC_URL}");
    let arguments = ["bench", &url, &public, "--rate=12", "--connections=2", "--seconds=75"];
    let mut command = program(&testbed.settings, &arguments);
    let _bench = Process::spawn(command.stdout(Stdio::null()), Signal::Terminate);
    browser.open(&format!("http://{}", offhook.client.admin_address())).await;
    a_minute_passes(&offhook.client).await;
    browser.open(&format!("http://{}", offhook.client.admin_address())).await;
    keep(browser, "now").await;
}

/// A minute's worth of plots, of 12 callbacks a second.
async fn a_minute_passes(client: &Client) {
    for accepted in [360.0, 720.0] {
        until("half a minute of callbacks is accepted", async || {
            let series = "offhook_requests_total{outcome=\"accepted\",route=\"status\"}";
            (client.metric(series).await > accepted).then_some(())
        })
        .await;
    }
}

async fn of_the_doctor(browser: &Browser) {
    let testbed = Testbed::scale_out(Durability::Unsynced);
    let address = Url::parse(&format!("http://127.0.0.1:{}", crate::services::free_port()));
    let address = address.expect("a URL");
    let at = address.socket_addrs(|| None).expect("an address")[0];
    let settings = testbed
        .settings
        .clone()
        .set("OFFHOOK_PUBLIC_URL", address.as_str().trim_end_matches('/'))
        .set("OFFHOOK_INBOUND__LISTEN", at.to_string());
    let offhook = Offhook::start(&settings);
    let spool = tempfile::tempdir().expect("a temporary directory");
    let settings = settings
        .set("OFFHOOK_SPOOL__DIRECTORY", spool.path().display().to_string())
        .set("OFFHOOK_ADMIN__LISTEN", offhook.client.admin_address().to_string());
    let printed = on_a_terminal(&settings, &["doctor"]);
    keep_terminal(browser, "doctor", "offhook doctor", &printed).await;
}

#[tokio::test]
#[ignore = "it writes docs/images: see tests/screenshots"]
async fn the_pictures_of_the_documentation_are_made_anew() {
    needs!(Redis, Postgres);
    let programs = programs!();
    let browser = Browser::start(&programs).await;
    browser.screen(WIDTH, HEIGHT, false).await;
    of_the_demo(&browser).await;
    of_a_deployment(&browser).await;
    of_the_doctor(&browser).await;
    of_a_healthy_deployment(&browser).await;
}
