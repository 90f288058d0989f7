//! [`Browser`]: a headless Chromium of one test's own, driven through chromedriver.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Process, Signal, guarded};
use crate::harness::{DEADLINE, until};

/// What Chromium must not do, and root must not be asked about.
const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
];
/// The name of an element in WebDriver's answers, as its standard has it.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Where the browser and its driver are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) chromium: PathBuf,
    pub(crate) driver: PathBuf,
}

/// A browser with one page open.
#[derive(Debug)]
pub(crate) struct Browser {
    _driver: Process,
    /// Chromium itself.
    id: Option<u64>,
    http: reqwest::Client,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// One that shows nothing yet.
    pub(crate) async fn start(Programs { chromium, driver }: &Programs) -> Self {
        let (driver, port) = start_driver(driver);
        let http = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build();
        let profile = tempfile::tempdir().expect("a temporary directory");
        let mut browser = Self {
            _driver: driver,
            id: None,
            http: http.expect("without TLS files to read"),
            session: format!("http://127.0.0.1:{port}/session"),
            _profile: profile,
        };
        let data = format!("--user-data-dir={}", browser._profile.path().display());
        let arguments: Vec<&str> = ARGUMENTS.into_iter().chain([data.as_str()]).collect();
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let body = json!({ "capabilities": { "alwaysMatch": wanted } });
        let made = browser.ask(Method::POST, "", &body).await.expect("Chromium starts");
        let id = made["sessionId"].as_str().expect("a session").to_owned();
        browser.session = format!("{}/{id}", browser.session);
        browser.id = made["capabilities"]["goog:processID"].as_u64();
        assert!(browser.id.is_some(), "nobody could end it: {made}");
        browser
    }

    /// Goes to a page.
    pub(crate) async fn open(&self, url: &str) {
        self.tell("/url", &json!({ "url": url })).await;
    }

    /// The text of the first element that a CSS selector finds, if it is there.
    pub(crate) async fn text(&self, selector: &str) -> Option<String> {
        let script = "const found = document.querySelector(arguments[0]); \
                      return found && found.innerText;";
        Some(self.run(script, &[selector]).await.as_str()?.to_owned())
    }

    /// Waits until the text of an element holds this.
    pub(crate) async fn shows(&self, selector: &str, part: &str) -> String {
        let what = format!("{selector} shows {part}");
        until(&what, async || self.text(selector).await.filter(|text| text.contains(part))).await
    }

    /// Clicks on an element, as a person would: not if it is covered.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.tell(&format!("/element/{element}/click"), &json!({})).await;
    }

    /// Types into an element.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.tell(&format!("/element/{element}/value"), &json!({ "text": text })).await;
    }

    /// Presses keys wherever the focus is.
    pub(crate) async fn press(&self, key: &str) {
        let down = json!({ "type": "keyDown", "value": key });
        let up = json!({ "type": "keyUp", "value": key });
        let actions = json!([{ "type": "key", "id": "keys", "actions": [down, up] }]);
        self.tell("/actions", &json!({ "actions": actions })).await;
    }

    /// What a script returns.
    pub(crate) async fn run(&self, script: &str, arguments: &[&str]) -> Value {
        self.tell("/execute/sync", &json!({ "script": script, "args": arguments })).await
    }

    /// Tells the page how large the screen is and whether it is dark.
    pub(crate) async fn screen(&self, width: u32, height: u32, dark: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics).await;
        let scheme = if dark { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [feature] })).await;
    }

    /// Keeps what is seen below `target/screenshots`.
    pub(crate) async fn screenshot(&self, name: &str) {
        use base64::Engine as _;
        let picture = self.devtools("Page.captureScreenshot", &json!({ "format": "png" })).await;
        let data = picture["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/target/screenshots");
        std::fs::create_dir_all(directory).expect("the target directory is ours");
        std::fs::write(format!("{directory}/{name}.png"), bytes).expect("it can be written");
    }

    /// What the page, or the browser about it, has complained of.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.tell("/se/log", &json!({ "type": "browser" })).await;
        let lines = log.as_array().expect("a list").iter();
        lines.map(|line| format!("{}: {}", line["level"], line["message"])).collect()
    }

    async fn element(&self, selector: &str) -> String {
        let asked = json!({ "using": "css selector", "value": selector });
        let what = format!("{selector} is there");
        let found =
            until(&what, async || self.ask(Method::POST, "/element", &asked).await.ok()).await;
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    async fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.tell("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await
    }

    async fn tell(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask(Method::POST, path, body).await;
        answer.unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, Value> {
        let request = self.http.request(method, format!("{}{path}", self.session));
        let answer = request.body(body.to_string()).send().await.expect("chromedriver answers");
        let good = answer.status().is_success();
        let text = answer.text().await.expect("the whole answer");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        if good { Ok(value["value"].clone()) } else { Err(value["value"].clone()) }
    }
}

/// The driver, and the port that it chose.
fn start_driver(program: &Path) -> (Process, String) {
    let mut command = guarded(program, Signal::Kill);
    command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut driver = Process::spawn(&mut command, Signal::Kill).expect("it can be started");
    let stdout = driver.child().stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned())
    });
    (driver, port.expect("it says where it listens"))
}

/// Chromium outlives its driver.
impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // That of the shell: the program is not everywhere.
            let _ = Command::new("sh").args(["-c", &format!("kill -s KILL {id}")]).status();
        }
    }
}
