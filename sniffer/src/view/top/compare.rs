//! The comparison with a mark: the numbers of services and operations since the mark, beside those before it.

use super::{
    place::{Place, ServiceId, Tab},
    rows::{Shown, operation_text},
    table::{Column, Key, Row, Table, Value, left, right},
};
use crate::{
    time::Timestamp,
    view::model::{Flows, Kept, Model, Numbers, Service, Stats},
};
use std::time::Duration;

/// What was counted up to a time.
#[derive(Clone, Debug)]
pub struct Mark {
    model: Box<Model>,
}

const SERVICES: &[Column] = &[
    left("SERVICE", (14, 46), 0),
    left("PROTO", (6, 9), 2),
    right("RATE/s", 8, 0),
    right("BEFORE", 8, 0),
    right("ERR%", 6, 1),
    right("BEFORE%", 7, 1),
    right("P50", 6, 4),
    right("P50 BEF", 7, 4),
    right("P95", 6, 2),
    right("P95 BEF", 7, 2),
    right("P99", 6, 3),
    right("P99 BEF", 7, 3),
];
const OPERATIONS: &[Column] = &[
    left("OPERATION", (14, 64), 0),
    left("SERVICE", (14, 30), 5),
    right("RATE/s", 8, 0),
    right("BEFORE", 8, 0),
    right("ERR%", 6, 1),
    right("BEFORE%", 7, 1),
    right("P50", 6, 4),
    right("P50 BEF", 7, 4),
    right("P95", 6, 2),
    right("P95 BEF", 7, 2),
    right("P99", 6, 3),
    right("P99 BEF", 7, 3),
];

impl Mark {
    /// Marks the present time of a model.
    pub fn new(model: &Model) -> Self {
        // Only counts are compared.
        let mut model = Box::new(model.clone());
        (model.kept, model.flows) = (Kept::default(), Flows::default());
        Self { model }
    }

    /// The time of the mark.
    pub fn time(&self) -> Timestamp {
        self.model.now()
    }

    /// The rows of a screen; `None` if the screen is not compared.
    pub fn table(&self, shown: &Shown<'_>, place: &Place) -> Option<Table> {
        let services = || shown.model.services.list().iter();
        let (columns, rows): (_, Vec<Row>) = match place {
            Place::Tab(Tab::Services) => (SERVICES, services().map(|service| self.service(shown, service)).collect()),
            Place::Tab(Tab::Operations) => (OPERATIONS, services().flat_map(|service| self.operations(shown, service)).collect()),
            Place::Service(id) => {
                let service = id.find(shown.model).map(|(_, service)| service);
                (OPERATIONS, service.into_iter().flat_map(|service| self.operations(shown, service)).collect())
            }
            _ => return None,
        };
        Some(Table { columns, rows, sort: Some((2, false)), hidden: Vec::new() })
    }

    /// The service as it was at the mark.
    fn before(&self, service: &Service) -> Option<&Service> {
        ServiceId::of(service).find(&self.model).map(|(_, before)| before)
    }

    fn service(&self, shown: &Shown<'_>, service: &Service) -> Row {
        let before = self.before(service).map(|before| &before.stats);
        let mut values = vec![Value::text(shown.service_name(service)), Value::text(&*service.protocol)];
        values.extend(self.numbers(shown, &service.stats, before));
        Row { key: Key::Service(ServiceId::of(service)), values }
    }

    fn operations(&self, shown: &Shown<'_>, service: &Service) -> Vec<Row> {
        let (id, name) = (ServiceId::of(service), shown.service_name(service));
        let before = self.before(service);
        let row = |of: &crate::view::model::Operation| {
            let before = before.and_then(|before| before.operations.find(&of.name)).map(|before| &before.stats);
            let mut values = vec![Value::text(operation_text(shown, &of.name)), Value::text(name.as_str())];
            values.extend(self.numbers(shown, &of.stats, before));
            Row { key: Key::Operation(id.clone(), of.name.clone()), values }
        };
        service.operations.list().iter().map(row).collect()
    }

    /// The values of the numeric columns: rate, errors and percentiles, each since the mark and before it.
    fn numbers(&self, shown: &Shown<'_>, stats: &Stats, before: Option<&Stats>) -> Vec<Value> {
        let none = Numbers::default();
        let before = before.map_or(&none, Stats::all);
        let since = stats.all().without(before);
        let since_mark = Duration::from_nanos(shown.model.now().since(self.time())).as_secs_f64().max(1.0);
        let until_mark = self.model.covered().as_secs_f64().max(1.0);
        let mut values = vec![
            Value::Rate(since.count as f64 / since_mark),
            Value::Rate(before.count as f64 / until_mark),
            Value::Errors(since.error_percent()),
            Value::Errors(before.error_percent()),
        ];
        for percent in [50.0, 95.0, 99.0] {
            values.extend([&since, before].map(|numbers| Value::Latency(numbers.durations.percentile(percent))));
        }
        values
    }
}
