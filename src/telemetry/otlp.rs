//! Spans on their way to a collector of OpenTelemetry: in batches, by OTLP over HTTP. When it is down
//! they are dropped and counted, and nothing waits for it.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _, SpanLinks};
use prometheus::Registry;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::{Clock, Timestamp};
use crate::config::Traces;
use crate::event::TraceContext;
use crate::http::client;
use crate::labels::labels;
use crate::metrics::{Counters, metrics};
use crate::spans::{self, Role, Span, Spans, Told, Value};

/// Most spans of one request to the collector.
const BATCH: usize = 512;
/// How long spans gather before they are sent.
const GATHER: Duration = Duration::from_secs(1);
/// Longest wait for the collector, tries again included.
const PATIENCE: Duration = Duration::from_secs(10);

labels! {
    /// What became of a span. A closed set: it is a metric label.
    enum Export {
        /// The collector took it.
        Exported = "exported",
        /// The collector did not take it.
        Failed = "failed",
        /// There was no room to wait for the collector.
        Dropped = "dropped",
    }
}

metrics! {
    /// Metrics of the traces.
    struct ExportMetrics {
        /// Spans of traces, and whether the collector took them or there was no room to wait for it
        spans: Counters<Export> = "offhook_spans_total" by ["result"],
    }
}

/// Starts sending, and returns the spans to report to. Ends soon after `stop`, once it has sent what was reported until
/// then.
///
/// # Errors
/// The HTTP client cannot be made, or a name of a metric is taken.
pub(super) fn start(
    traces: &Traces,
    clock: Clock,
    registry: &Registry,
    tasks: &mut JoinSet<()>,
    stop: CancellationToken,
) -> anyhow::Result<Spans> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client::new(PATIENCE)?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&traces.endpoint)
        .build()
        .context("traces.endpoint")?;
    let metrics = ExportMetrics::register(registry)?;
    let (spans, told) = spans::channel(traces.sample_ratio, clock);
    let mut sender = Sender { exporter, spans: spans.clone(), metrics, down: false };
    sender.name_itself();
    tasks.spawn(sender.run(told, stop));
    Ok(spans)
}

struct Sender {
    exporter: opentelemetry_otlp::SpanExporter,
    spans: Spans,
    metrics: ExportMetrics,
    /// Whether the last batch was not taken, so that it is said once.
    down: bool,
}

impl Sender {
    /// Sets the name of the service from `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, or to `offhook`.
    fn name_itself(&mut self) {
        const NAME: &str = "service.name";
        let ours = [
            KeyValue::new(NAME, "offhook"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let said = Resource::builder().build();
        // OpenTelemetry's own default.
        let said = said.iter().filter(|(key, value)| {
            key.as_str() != NAME || !value.as_str().starts_with("unknown_service")
        });
        let said = said.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let resource = Resource::builder_empty().with_attributes(ours).with_attributes(said);
        self.exporter.set_resource(&resource.build());
    }

    async fn run(mut self, mut told: Told, stop: CancellationToken) {
        let mut gathered = Vec::with_capacity(BATCH);
        while stop.run_until_cancelled(told.recv_many(&mut gathered, BATCH)).await.is_some() {
            if gathered.len() < BATCH {
                stop.run_until_cancelled(sleep(GATHER)).await;
                gather(&mut told, &mut gathered);
            }
            self.send(&mut gathered).await;
        }
        // Every task that reports spans has ended.
        gather(&mut told, &mut gathered);
        while !gathered.is_empty() {
            self.send(&mut gathered).await;
            gather(&mut told, &mut gathered);
        }
    }

    async fn send(&mut self, gathered: &mut Vec<(Timestamp, Span)>) {
        self.metrics.spans.of(Export::Dropped).inc_by(self.spans.take_dropped());
        let count = gathered.len() as u64;
        let batch = gathered.drain(..).map(|(ended, span)| data(ended, span)).collect();
        let failure = match timeout(PATIENCE, self.exporter.export(batch)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        match failure {
            None => {
                self.metrics.spans.of(Export::Exported).inc_by(count);
                if std::mem::take(&mut self.down) {
                    info!("collector takes traces again");
                }
            }
            Some(error) => {
                self.metrics.spans.of(Export::Failed).inc_by(count);
                if !std::mem::replace(&mut self.down, true) {
                    warn!(error, "collector takes no traces: they are lost, and counted");
                }
            }
        }
    }
}

/// What is there already, up to a batch.
fn gather(told: &mut Told, gathered: &mut Vec<(Timestamp, Span)>) {
    while gathered.len() < BATCH
        && let Ok(span) = told.try_recv()
    {
        gathered.push(span);
    }
}

/// The span in the form of the exporter.
fn data(ended: Timestamp, span: Span) -> SpanData {
    let Span { name, role, context, parent, links, took, attributes, error } = span;
    let mut all = SpanLinks::default();
    all.links = links.into_iter().map(|link| Link::with_context(of(link))).collect();
    SpanData {
        span_context: of(context),
        parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: false,
        span_kind: match role {
            Role::Server => SpanKind::Server,
            Role::Producer => SpanKind::Producer,
            Role::Consumer => SpanKind::Consumer,
            Role::Client => SpanKind::Client,
            Role::Internal => SpanKind::Internal,
        },
        name: name.into(),
        start_time: at(ended.before(took)),
        end_time: at(ended),
        attributes: attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: all,
        status: error.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("offhook").build(),
    }
}

fn of(context: TraceContext) -> SpanContext {
    let (trace, span) = (TraceId::from(context.trace), SpanId::from(context.span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
}

fn at(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(time.micros().unsigned_abs())
}

fn attribute(name: &'static str, value: Value) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(name, text),
        Value::Number(number) => KeyValue::new(name, i64::try_from(number).unwrap_or(i64::MAX)),
    }
}
