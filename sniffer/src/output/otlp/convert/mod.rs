//! Makes the requests of a batch from its documents: spans of transactions, log records of flows, grouped by resource.

mod attributes;
mod conventions;
mod document;
mod identity;

use crate::{
    output::{Outcome, Reason},
    publish::Record,
    time::Timestamp,
};
pub(super) use attributes::Attributes;
use conventions::Described;
use document::Document;
use identity::Identity;
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{InstrumentationScope, KeyValue},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, status::StatusCode},
};

/// Fields that describe the program and its host. They belong to the resource.
const RESOURCE: [&str; 6] = ["agent", "cloud", "ecs", "host", "observer", "orchestrator"];

/// Fields of the resource that have other names in the semantic conventions.
const RENAMED: [(&str, &str); 5] = [
    ("host.architecture", "host.arch"),
    ("host.os.name", "os.name"),
    ("host.os.version", "os.version"),
    ("host.os.type", "os.type"),
    ("host.os.build", "os.build_id"),
];

/// The requests of a batch. A request without events is not sent.
pub(super) struct Converted {
    pub traces: ExportTraceServiceRequest,
    /// The positions in the batch of the spans.
    pub spans: Vec<usize>,
    pub logs: ExportLogsServiceRequest,
    /// The positions in the batch of the log records.
    pub records: Vec<usize>,
    /// The outcome of each event if all requests succeed.
    pub outcomes: Vec<Outcome>,
}

/// Converts a batch. `service_name`: the value of `service.name` for events that have none.
pub(super) fn convert(batch: &[Record], service_name: &str) -> Converted {
    let mut converted = Converted {
        traces: ExportTraceServiceRequest::default(),
        spans: Vec::new(),
        logs: ExportLogsServiceRequest::default(),
        records: Vec::new(),
        outcomes: vec![Outcome::Delivered; batch.len()],
    };
    for (place, (record, outcome)) in batch.iter().zip(&mut converted.outcomes).enumerate() {
        let Some(mut document) = Document::parse(&record.body) else {
            *outcome = Outcome::Rejected(Reason::from("the document is no JSON object"));
            continue;
        };
        let resource = resource(&mut document, service_name);
        if document.text("type") == Some("flow") {
            add_record(&mut converted.logs.resource_logs, resource, log_record(document, record.route.time));
            converted.records.push(place);
        } else {
            add_span(&mut converted.traces.resource_spans, resource, span(document, record));
            converted.spans.push(place);
        }
    }
    converted
}

/// Takes the attributes of the resource from the document.
fn resource(document: &mut Document, service_name: &str) -> Vec<KeyValue> {
    let mut attributes = Attributes::default();
    let name = document.take("service.name").and_then(|name| name.as_str().map(str::to_owned));
    attributes.add("service.name", name.as_deref().unwrap_or(service_name));
    for (from, to) in RENAMED {
        attributes.add_some(to, document.take(from));
    }
    for root in RESOURCE {
        attributes.add_some(root, document.take(root));
    }
    attributes.list
}

fn span(mut document: Document, record: &Record) -> Span {
    let identity = Identity::of(&document, &record.body);
    let (start, end) = times(&mut document, record.route.time);
    let mut attributes = Attributes::default();
    let Described { name, kind, error } = conventions::describe(&mut document, &mut attributes);
    let status = error.map(|message| Status { message, code: StatusCode::Error.into() });
    attributes.add_rest(document);
    Span {
        trace_id: identity.trace.to_vec(),
        span_id: identity.span.to_vec(),
        trace_state: identity.state,
        parent_span_id: identity.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        flags: identity.flags,
        name,
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        dropped_attributes_count: attributes.dropped,
        attributes: attributes.list,
        status,
        ..Span::default()
    }
}

/// Takes the start and the end of a transaction from the document, in nanoseconds. `time` is the value of `@timestamp`, which is exact, while
/// the times in the document are rounded to milliseconds.
fn times(document: &mut Document, time: Timestamp) -> (u64, u64) {
    const MILLISECOND: u64 = 1_000_000;
    let mut nanos = |name| {
        let text = document.take(name)?;
        Some(Timestamp::parse(text.as_str()?)?.0)
    };
    let (start, end) = (nanos("event.start"), nanos("event.end"));
    let duration = document.take("event.duration").and_then(|nanos| nanos.as_u64());
    let exact = time.0;
    let start = match (start, end) {
        (Some(start), _) if exact.abs_diff(start) < MILLISECOND => exact,
        (Some(start), _) => start,
        (None, Some(end)) => end,
        (None, None) => exact,
    };
    let end = duration.map(|duration| start.saturating_add(duration)).or(end).unwrap_or(start);
    (start, end.max(start))
}

fn log_record(document: Document, time: Timestamp) -> LogRecord {
    let mut attributes = Attributes::default();
    let time = time.0;
    let mut document = document;
    conventions::rename(&mut document, &mut attributes);
    attributes.add_rest(document);
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: SeverityNumber::Info.into(),
        event_name: "network.flow".to_owned(),
        dropped_attributes_count: attributes.dropped,
        attributes: attributes.list,
        ..LogRecord::default()
    }
}

/// Adds a span to the last group if that has the same resource, otherwise to a new group. Almost all events of a batch have the same
/// resource.
fn add_span(groups: &mut Vec<ResourceSpans>, resource: Vec<KeyValue>, span: Span) {
    let last = groups.last_mut().filter(|group| group.resource.as_ref().is_some_and(|of| of.attributes == resource));
    if let Some(scope) = last.and_then(|group| group.scope_spans.last_mut()) {
        scope.spans.push(span);
        return;
    }
    let resource = Some(Resource { attributes: resource, ..Resource::default() });
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans: vec![span], ..ScopeSpans::default() }];
    groups.push(ResourceSpans { resource, scope_spans, ..ResourceSpans::default() });
}

/// Adds a log record, as [`add_span`].
fn add_record(groups: &mut Vec<ResourceLogs>, resource: Vec<KeyValue>, record: LogRecord) {
    let last = groups.last_mut().filter(|group| group.resource.as_ref().is_some_and(|of| of.attributes == resource));
    if let Some(scope) = last.and_then(|group| group.scope_logs.last_mut()) {
        scope.log_records.push(record);
        return;
    }
    let resource = Some(Resource { attributes: resource, ..Resource::default() });
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records: vec![record], ..ScopeLogs::default() }];
    groups.push(ResourceLogs { resource, scope_logs, ..ResourceLogs::default() });
}

fn scope() -> InstrumentationScope {
    let (name, version) = ("sniffer".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    InstrumentationScope { name, version, ..InstrumentationScope::default() }
}
