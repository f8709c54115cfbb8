//! The types that describe a panel of a dashboard.

/// One panel of a dashboard: what it shows, and its size.
pub(super) struct Panel {
    /// Part of the identifier of the panel. It is unique in its dashboard.
    pub id: &'static str,
    pub title: &'static str,
    /// The events that are shown, in Kibana's query language.
    pub filter: &'static str,
    pub shows: Shows,
    /// Width in units of the grid.
    pub width: u32,
    /// Height in units of the grid.
    pub height: u32,
}

/// The form in which a panel shows events.
pub(super) enum Shows {
    /// Large numbers.
    Numbers(&'static [Metric]),
    /// Values over time. `stacked`: as areas on top of each other, which is correct only for sums and counts; otherwise as lines.
    OverTime { metric: Metric, by: Option<Group>, stacked: bool },
    /// The shares that groups have in the whole.
    Shares { metric: Metric, by: Group },
    /// A table with a row for each combination of values, in the order of the first metric.
    Table { metrics: &'static [Metric], by: &'static [Group] },
    /// The newest events, with these fields.
    Events(&'static [&'static str]),
}

/// A number that is computed from events.
#[derive(Clone, Copy)]
pub(super) struct Metric {
    pub label: &'static str,
    pub of: Of,
}

/// How a number is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The number of events.
    Count,
    /// The sum of a field.
    Sum(&'static str),
    /// The median of a field.
    Median(&'static str),
    /// The 95th percentile of a field.
    Slow(&'static str),
    /// The 50th, 95th and 99th percentiles of a field.
    Percentiles(&'static str),
    /// The largest value of a field.
    Largest(&'static str),
    /// The smallest value of a field.
    Smallest(&'static str),
    /// The number of different values of a field, which the server estimates.
    Different(&'static str),
}

/// Groups by the most frequent values of a field.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub field: &'static str,
    pub label: &'static str,
    pub size: u32,
}
