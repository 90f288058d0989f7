//! Traces, as a collector of OpenTelemetry gets them: from the request to the row, whoever of us does
//! what, and nothing in them that a log must not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use offhook::config::Role;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::{ACCOUNT, Callback, Settings, Spawned, Testbed, both_modes, until};
use crate::services::{Durability, needs};

both_modes! {
    a_trace_leads_from_the_request_to_the_row,
    a_collector_that_is_down_costs_no_callback,
}

const ENDPOINT: &str = "OFFHOOK_TRACES__ENDPOINT";

/// A span, and the service that sent it.
#[derive(Clone, Debug)]
pub(crate) struct CollectedSpan {
    service: String,
    pub(crate) span: Span,
}

impl CollectedSpan {
    pub(crate) fn attribute(&self, name: &str) -> String {
        text(self.span.attributes.iter(), name)
    }

    /// Name and backend.
    fn step(&self) -> String {
        format!("{} {}", self.span.name, self.attribute("backend")).trim().to_owned()
    }
}

fn text<'a>(mut pairs: impl Iterator<Item = &'a KeyValue>, name: &str) -> String {
    let found = pairs.find(|pair| pair.key == name).and_then(|pair| pair.value.clone());
    match found {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        _ => String::new(),
    }
}

type Spans = Arc<Mutex<Vec<CollectedSpan>>>;

/// Takes traces by OTLP over HTTP.
pub(crate) struct Collector {
    pub(crate) url: String,
    spans: Spans,
    _serving: JoinSet<()>,
}

async fn take(State(spans): State<Spans>, body: Bytes) {
    let sent = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
    for sent in sent.resource_spans {
        let resource = sent.resource.expect("it says who it is");
        let service = text(resource.attributes.iter(), "service.name");
        for span in sent.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.lock().expect("no panic").push(CollectedSpan { service: service.clone(), span });
        }
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let spans = Spans::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/v1/traces", listener.local_addr().expect("bound"));
        let mut serving = JoinSet::new();
        serving.spawn(async { axum::serve(listener, router).await.expect("it serves") });
        Self { url, spans, _serving: serving }
    }

    pub(crate) fn seen(&self) -> Vec<CollectedSpan> {
        self.spans.lock().expect("no panic").clone()
    }

    /// The spans of the only trace that begins with a callback, once each of these steps is among
    /// them.
    async fn trace(&self, steps: &[&str]) -> Vec<CollectedSpan> {
        until(&format!("a trace has {steps:?}"), async || {
            let seen = self.seen();
            let root = seen.iter().find(|seen| seen.span.name == "callback")?;
            let trace = &root.span.trace_id;
            let of_trace = seen.iter().filter(|seen| seen.span.trace_id == *trace);
            let of_trace: Vec<CollectedSpan> = of_trace.cloned().collect();
            let found: BTreeSet<String> = of_trace.iter().map(CollectedSpan::step).collect();
            steps.iter().all(|step| found.contains(*step)).then_some(of_trace)
        })
        .await
    }
}

fn call(n: usize) -> (Callback, String) {
    let sid = format!("CA{n:032x}");
    let numbers = "From=%2B15550199001&To=%2B15550199002";
    let body = format!(
        "CallSid={sid}&AccountSid={ACCOUNT}&CallStatus=completed&CallbackSource=call-progress-events&{numbers}"
    );
    (Callback::form(body), format!("{sid}-completed"))
}

async fn a_trace_leads_from_the_request_to_the_row(mut testbed: Testbed) {
    let collector = Collector::start().await;
    testbed.settings = testbed.settings.clone().set(ENDPOINT, &collector.url);
    let offhook = testbed.start();
    let (callback, key) = call(1);
    offhook.client.accepts(&callback).await;
    let steps: &[&str] = match testbed.mode() {
        crate::harness::Mode::Embedded => &["callback", "append spool", "store sqlite"],
        crate::harness::Mode::Direct => &["callback", "append spool", "store postgres"],
        crate::harness::Mode::ScaleOut => &["callback", "append redis", "store postgres"],
    };
    let trace = collector.trace(steps).await;
    assert_eq!(trace.len(), steps.len(), "{trace:#?}");
    let root = trace.iter().find(|seen| seen.span.parent_span_id.is_empty()).expect("a root");
    assert_eq!((root.span.name.as_str(), root.service.as_str()), ("callback", "offhook"));
    let about = ["route", "outcome", "account.sid"].map(|name| root.attribute(name));
    assert_eq!(about, ["status", "accepted", ACCOUNT]);
    assert!(root.span.start_time_unix_nano < root.span.end_time_unix_nano);
    for part in trace.iter().filter(|seen| seen.span.name != "callback") {
        assert_eq!(part.span.parent_span_id, root.span.span_id);
        assert_eq!(
            (part.attribute("event.key"), part.attribute("event.kind")),
            (key.clone(), "call".to_owned())
        );
        // The commit as a whole is a trace of its own, which leads here and back.
        let whole = until("the batch is sent, too", async || {
            let seen = collector.seen();
            let is_linked = |seen: &CollectedSpan| {
                seen.span.links.iter().any(|link| link.span_id == part.span.span_id)
            };
            seen.into_iter().find(|seen| seen.span.name == "batch" && is_linked(seen))
        })
        .await;
        assert_eq!(part.span.links[0].span_id, whole.span.span_id);
        assert_eq!(part.span.links[0].trace_id, whole.span.trace_id);
    }
    no_more_than_a_log_holds(&collector);
    drop(offhook);
}

/// No number and no body: attributes are of a closed set, and none of them is a parameter.
fn no_more_than_a_log_holds(collector: &Collector) {
    let known = [
        "route",
        "outcome",
        "account.sid",
        "body_bytes",
        "backend",
        "batch.size",
        "event.key",
        "event.kind",
    ];
    for seen in collector.seen() {
        for pair in &seen.span.attributes {
            assert!(known.contains(&pair.key.as_str()), "{}", pair.key);
        }
        let all = format!("{:?}", seen.span);
        assert!(!all.contains("15550199"), "{all}");
    }
}

async fn a_collector_that_is_down_costs_no_callback(mut testbed: Testbed) {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/v1/traces", nobody.local_addr().expect("bound"));
    // It takes the connection, and says nothing.
    testbed.settings = testbed.settings.clone().set(ENDPOINT, url);
    let offhook = testbed.start();
    let mut keys = Vec::new();
    for n in 0..20 {
        let (callback, key) = call(n);
        offhook.client.accepts(&callback).await;
        keys.push(key);
    }
    testbed.contents_with(&keys).await;
    drop(nobody);
    let failed = "offhook_spans_total{result=\"failed\"}";
    until("the loss is counted", async || {
        offhook.client.accepts(&call(20).0).await;
        (crate::operate::metrics::scrape(&offhook.client).await.series[failed] > 0.0).then_some(())
    })
    .await;
}

/// As OpenTelemetry's own variables say where to and who.
fn told(settings: Settings, collector: &Collector, service: &str) -> Settings {
    let base = collector.url.strip_suffix("/v1/traces").expect("it ends so");
    settings.set("OTEL_EXPORTER_OTLP_ENDPOINT", base).set("OTEL_SERVICE_NAME", service)
}

#[tokio::test]
async fn one_trace_has_spans_of_the_receiver_and_of_the_worker() {
    needs!(Redis, Postgres);
    let (testbed, collector) = (Testbed::scale_out(Durability::Unsynced), Collector::start().await);
    let receiver = Spawned::start(&told(testbed.role(Role::Receiver), &collector, "receiver"));
    let _worker = Spawned::start(&told(testbed.role(Role::Worker), &collector, "worker"));
    receiver.client.accepts(&call(1).0).await;
    let trace = collector.trace(&["callback", "append redis", "store postgres"]).await;
    let by: BTreeMap<String, String> =
        trace.into_iter().map(|seen| (seen.step(), seen.service)).collect();
    let by: Vec<_> = by.iter().map(|(step, service)| (step.as_str(), service.as_str())).collect();
    let expected =
        [("append redis", "receiver"), ("callback", "receiver"), ("store postgres", "worker")];
    assert_eq!(by, expected);
}

#[tokio::test]
async fn a_trace_goes_on_after_the_spool() {
    needs!(Redis, Postgres);
    let (mut testbed, collector) =
        (Testbed::scale_out(Durability::Unsynced), Collector::start().await);
    testbed.settings = testbed.settings.clone().set(ENDPOINT, &collector.url);
    let offhook = testbed.start();
    until("it is ready", async || offhook.client.is_ready().await.then_some(())).await;
    testbed.redis().kill();
    offhook.client.accepts(&call(1).0).await;
    collector.trace(&["callback", "append spool"]).await;
    testbed.redis().restart();
    collector.trace(&["append redis", "store postgres"]).await;
}

#[tokio::test]
async fn what_is_not_sampled_is_neither_told_nor_carried() {
    needs!(Redis, Postgres);
    let (mut testbed, collector) =
        (Testbed::scale_out(Durability::Unsynced), Collector::start().await);
    let settings = testbed.role(Role::Receiver).set(ENDPOINT, &collector.url);
    let offhook = Spawned::start(&settings.set("OFFHOOK_TRACES__SAMPLE_RATIO", "0"));
    offhook.client.accepts(&call(1).0).await;
    let range = redis::cmd("XRANGE").arg("offhook:events").arg("-").arg("+").to_owned();
    type Fields = Vec<(String, Vec<u8>)>;
    let entries: Vec<(String, Fields)> = testbed.redis().query(&range);
    let names: Vec<&str> = entries[0].1.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, offhook::event::codec::FIELDS);
    drop(offhook);
    assert!(collector.seen().is_empty());
}
