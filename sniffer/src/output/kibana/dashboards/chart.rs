//! The state of a visualization: its aggregations and how they are drawn.

use super::panel::{Group, Metric, Of, Shows};
use serde_json::{Value, json};

/// Makes the `visState` of a panel that is not a list of events.
pub(super) fn state(title: &str, shows: &Shows) -> Value {
    let (kind, aggregations, params) = match shows {
        Shows::Numbers(metrics) => ("metric", metrics_of(metrics), numbers()),
        Shows::OverTime { metric, by, stacked } => {
            let kind = if *stacked { "area" } else { "line" };
            let mut aggregations = metrics_of(&[*metric]);
            aggregations.push(over_time(2));
            aggregations.extend(by.as_ref().map(|group| terms(3, "group", group, metric.of)));
            (kind, aggregations, axes(kind, metric, *stacked))
        }
        Shows::Shares { metric, by } => {
            let mut aggregations = metrics_of(&[*metric]);
            aggregations.push(terms(2, "segment", by, metric.of));
            ("pie", aggregations, pie())
        }
        Shows::Table { metrics, by } => {
            let mut aggregations = metrics_of(metrics);
            let order = metrics.first().map_or(Of::Count, |metric| metric.of);
            aggregations.extend(by.iter().enumerate().map(|(n, group)| terms(metrics.len() + n + 1, "bucket", group, order)));
            ("table", aggregations, table())
        }
        // A search has no visualization state.
        Shows::Events(_) => return Value::Null,
    };
    json!({"title": title, "type": kind, "aggs": aggregations, "params": params})
}

/// The metrics, with the identifiers 1, 2, …
fn metrics_of(metrics: &[Metric]) -> Vec<Value> {
    metrics.iter().enumerate().map(|(n, metric)| aggregated(n + 1, metric)).collect()
}

fn aggregated(id: usize, metric: &Metric) -> Value {
    let (kind, params) = match metric.of {
        Of::Count => ("count", json!({})),
        Of::Sum(field) => ("sum", json!({"field": field})),
        Of::Median(field) => ("percentiles", json!({"field": field, "percents": [50]})),
        Of::Slow(field) => ("percentiles", json!({"field": field, "percents": [95]})),
        Of::Percentiles(field) => ("percentiles", json!({"field": field, "percents": [50, 95, 99]})),
        Of::Largest(field) => ("max", json!({"field": field})),
        Of::Smallest(field) => ("min", json!({"field": field})),
        Of::Different(field) => ("cardinality", json!({"field": field})),
    };
    let mut aggregation = json!({"id": id.to_string(), "enabled": true, "schema": "metric", "type": kind, "params": params});
    aggregation["params"]["customLabel"] = metric.label.into();
    aggregation
}

fn over_time(id: usize) -> Value {
    json!({
        "id": id.to_string(),
        "enabled": true,
        "schema": "segment",
        "type": "date_histogram",
        "params": {
            "field": "@timestamp",
            "interval": "auto",
            "drop_partials": false,
            "extended_bounds": {},
            "min_doc_count": 1,
            "scaleMetricValues": false,
            "useNormalizedEsInterval": true,
        },
    })
}

/// Groups by the values of a field, in the order of the metric with the identifier 1.
fn terms(id: usize, schema: &str, group: &Group, metric: Of) -> Value {
    // The server cannot order by a metric of several percentiles, so the order uses one of the percentiles.
    let order = match metric {
        Of::Median(_) => "1.50",
        Of::Slow(_) | Of::Percentiles(_) => "1.95",
        _ => "1",
    };
    json!({
        "id": id.to_string(),
        "enabled": true,
        "schema": schema,
        "type": "terms",
        "params": {
            "field": group.field,
            "customLabel": group.label,
            "size": group.size,
            "order": if matches!(metric, Of::Smallest(_)) { "asc" } else { "desc" },
            "orderBy": order,
            "missingBucket": false,
            "missingBucketLabel": "Missing",
            "otherBucket": false,
            "otherBucketLabel": "Other",
        },
    })
}

fn numbers() -> Value {
    json!({
        "addLegend": false,
        "addTooltip": true,
        "type": "metric",
        "metric": {
            "colorSchema": "Green to Red",
            "colorsRange": [{"from": 0, "to": 10000}],
            "invertColors": false,
            "labels": {"show": true},
            "metricColorMode": "None",
            "percentageMode": false,
            "style": {"bgColor": false, "bgFill": "#000", "fontSize": 36, "labelColor": false, "subText": ""},
            "useRanges": false,
        },
    })
}

fn axes(kind: &str, metric: &Metric, stacked: bool) -> Value {
    json!({
        "type": kind,
        "addLegend": true,
        "addTimeMarker": false,
        "addTooltip": true,
        "legendPosition": "right",
        "grid": {"categoryLines": false},
        "labels": {},
        "times": [],
        "thresholdLine": {"color": "#E7664C", "show": false, "style": "full", "value": 10, "width": 1},
        "categoryAxes": [{
            "id": "CategoryAxis-1",
            "type": "category",
            "position": "bottom",
            "show": true,
            "style": {},
            "scale": {"type": "linear"},
            "labels": {"filter": true, "show": true, "truncate": 100},
            "title": {},
        }],
        "valueAxes": [{
            "id": "ValueAxis-1",
            "name": "LeftAxis-1",
            "type": "value",
            "position": "left",
            "show": true,
            "style": {},
            "scale": {"mode": "normal", "type": "linear"},
            "labels": {"filter": false, "rotate": 0, "show": true, "truncate": 100},
            "title": {"text": metric.label},
        }],
        "seriesParams": [{
            "data": {"id": "1", "label": metric.label},
            "drawLinesBetweenPoints": true,
            "interpolate": "linear",
            "lineWidth": 2,
            "mode": if stacked { "stacked" } else { "normal" },
            "show": true,
            "showCircles": true,
            "type": kind,
            "valueAxis": "ValueAxis-1",
        }],
    })
}

fn pie() -> Value {
    json!({
        "type": "pie",
        "addLegend": true,
        "addTooltip": true,
        "isDonut": true,
        "legendPosition": "right",
        "labels": {"last_level": true, "show": false, "truncate": 100, "values": true},
    })
}

fn table() -> Value {
    json!({
        "perPage": 10,
        "percentageCol": "",
        "showMetricsAtAllLevels": false,
        "showPartialRows": false,
        "showTotal": false,
        "sort": {"columnIndex": null, "direction": null},
        "totalFunc": "sum",
    })
}
