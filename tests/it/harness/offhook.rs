//! [`Offhook`]: the server in this process, and [`Client`], all that can be asked of any.

use std::net::SocketAddr;
use std::sync::{Once, mpsc};
use std::thread::JoinHandle;

use offhook::app::{self, Listeners};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::DEADLINE;
use super::callback::Callback;
use super::settings::Settings;

/// A server in this process, on a runtime of its own. Dropping it stops it, and fails the test if
/// it does not stop well.
#[derive(Debug)]
pub(crate) struct Offhook {
    pub(crate) client: Client,
    stop: CancellationToken,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
    _spool: Option<TempDir>,
}

impl Offhook {
    /// Starts it, and returns once it listens.
    pub(crate) fn start(settings: &Settings) -> Self {
        Self::try_start(settings).expect("it starts")
    }

    /// Starts it, or says why it does not.
    pub(crate) fn try_start(settings: &Settings) -> anyhow::Result<Self> {
        install_cryptography();
        let stop = CancellationToken::new();
        let (settings, spool) = settings.with_own_spool();
        let (config, told) = (settings.load(), stop.clone());
        let (started, starts) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build()?;
            runtime.block_on(async {
                let listeners = Listeners::bind(&config).await?;
                let running = app::start(config, listeners, told).await?;
                let _ = started.send((running.inbound, running.admin));
                Ok(running.stopped().await?)
            })
        });
        match starts.recv() {
            Ok((inbound, admin)) => Ok(Self {
                client: Client::new(inbound, admin),
                stop,
                thread: Some(thread),
                _spool: spool,
            }),
            // It hung up without a word: the thread has ended, with the reason.
            Err(_) => Err(thread.join().expect("no panic").expect_err("it did not start")),
        }
    }

    /// Stops them all at the same time.
    pub(crate) fn stop_all(offhooks: impl IntoIterator<Item = Self>) {
        let offhooks: Vec<Self> = offhooks.into_iter().collect();
        offhooks.iter().for_each(Self::begin_stop);
    }

    /// Tells it to stop, without waiting.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops it; what it says about that.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.thread.take().map_or(Ok(()), |thread| thread.join().expect("no panic"))
    }
}

impl Drop for Offhook {
    fn drop(&mut self) {
        let ended = self.end();
        if !std::thread::panicking() {
            ended.expect("it stops, and nothing is left undone");
        }
    }
}

/// As `main` does it. Redis, Postgres and the HTTP client share one TLS library.
pub(crate) fn install_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Asks a server, wherever it runs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    inbound: Option<SocketAddr>,
    admin: SocketAddr,
    http: reqwest::Client,
}

impl Client {
    pub(super) fn new(inbound: Option<SocketAddr>, admin: SocketAddr) -> Self {
        install_cryptography();
        let http = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build();
        Self { inbound, admin, http: http.expect("without TLS files to read") }
    }

    /// The private listener.
    pub(crate) fn private(&self) -> SocketAddr {
        self.admin
    }

    /// The public listener.
    pub(crate) fn inbound(&self) -> SocketAddr {
        self.inbound.expect("it receives")
    }

    /// The private listener.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Sends a callback, and returns its answer.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) async fn try_send(&self, callback: &Callback) -> reqwest::Result<Response> {
        let url = format!("http://{}{}", self.inbound(), callback.target());
        let mut request = self.http.request(callback.method(), url);
        for (name, value) in callback.headers() {
            request = request.header(name, value);
        }
        request.body(callback.body().to_vec()).send().await
    }

    /// Sends a callback, and returns its answer.
    pub(crate) async fn send(&self, callback: &Callback) -> Response {
        self.try_send(callback).await.expect("every request is answered")
    }

    /// Sends a callback that must be accepted.
    pub(crate) async fn accepts(&self, callback: &Callback) {
        let answer = self.send(callback).await;
        let (status, kind) = (answer.status(), header(&answer, "content-type"));
        let text = answer.text().await.expect("the whole answer");
        assert_eq!((status, text.as_str()), (StatusCode::OK, "<Response/>"), "{callback}");
        assert_eq!(kind.as_deref(), Some("text/xml"));
    }

    /// Sends [calls](Callback::call) that must be accepted; the keys of their events.
    pub(crate) async fn accepts_calls(&self, numbers: std::ops::Range<usize>) -> Vec<String> {
        let mut keys = Vec::new();
        for number in numbers {
            let (callback, key) = Callback::call(number);
            self.accepts(&callback).await;
            keys.push(key);
        }
        keys
    }

    /// Asks the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Response {
        self.admin_as(path, None).await
    }

    /// Asks the admin listener, with a token.
    pub(crate) async fn admin_as(&self, path: &str, token: Option<&str>) -> Response {
        let request = self.http.get(format!("http://{}{path}", self.admin));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.expect("the admin listener answers")
    }

    /// JSON of the admin listener, and its status code.
    pub(crate) async fn json(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.admin(path).await;
        let status = answer.status();
        let text = answer.text().await.expect("the whole answer");
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
    }

    /// POSTs JSON to the admin listener; its answer.
    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.http.post(format!("http://{}{path}", self.admin));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.expect("the admin listener answers");
        let status = answer.status();
        let text = answer.text().await.expect("the whole answer");
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
    }

    /// Whether `/readyz` says so.
    pub(crate) async fn is_ready(&self) -> bool {
        self.admin("/readyz").await.status() == StatusCode::OK
    }

    /// One series of `/metrics`, by its name and labels as they are written there.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        self.metric_as(series, None).await
    }

    /// The same, with a token.
    pub(crate) async fn metric_as(&self, series: &str, token: Option<&str>) -> f64 {
        let text = self.admin_as("/metrics", token).await.text().await.expect("the whole answer");
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series}:\n{text}"))
    }
}

/// A header of an answer.
pub(crate) fn header(answer: &Response, name: &str) -> Option<String> {
    Some(answer.headers().get(name)?.to_str().ok()?.to_owned())
}
