//! The answer to `/api/operations`: the kinds of requests of one service or of all.

use super::{
    parameters::{Parameters, Refused},
    state::State,
    values::{Base, Numbers, Table, micros, rounded},
};
use crate::view::{
    model::{Operation, Service, ServiceId, Stats},
    naming::{self, Neighbour},
};
use serde::Serialize;

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    table: Table<OperationRow<'a>>,
    called_by: Vec<NeighbourRow>,
    calls: Vec<NeighbourRow>,
}

#[derive(Serialize)]
struct OperationRow<'a> {
    service: String,
    name: &'a str,
    numbers: Numbers,
    time_percent: f64,
    results: Vec<(&'a str, u64)>,
    first_us: u64,
}

#[derive(Serialize)]
struct NeighbourRow {
    name: String,
    service: Option<String>,
    rate: f64,
}

/// Answers the request.
///
/// # Errors
/// When a parameter is wrong, or the service is not known.
pub fn answer(state: &mut State, parameters: &Parameters) -> Result<Vec<u8>, Refused> {
    let range = parameters.range(state.source.is_live)?;
    let limit = parameters.limit(2000, 200)?;
    let selected = state.filters.model(parameters.get("filter").unwrap_or_default(), &state.protocols, &state.live);
    let model = selected.map_err(|wrong| Refused::filter(&wrong))?.unwrap_or(&state.live);
    let base = Base { model, range };
    let mut neighbours = [Vec::new(), Vec::new()];
    let services: Vec<&Service> = match parameters.get("service") {
        None => model.services.list().iter().collect(),
        Some(text) => {
            let unknown = || Refused::unknown("service", "no transaction of this service was seen");
            let id = ServiceId::parse(text).ok_or_else(unknown)?;
            // The service is known even if the filter hides all of it.
            id.find(&state.live).ok_or_else(unknown)?;
            neighbours = naming::neighbours(model, range, &id, true).map(|list| list.into_iter().take(limit).map(neighbour).collect());
            id.find(model).map(|(_, service)| service).into_iter().collect()
        }
    };
    let now = model.now();
    let total: u64 = services.iter().map(|service| service.stats.over(range, now).nanos).sum();
    let operations = services.iter().flat_map(|service| service.operations.list().iter().map(move |of| (*service, of)));
    let items = operations.map(|(service, of)| (of.stats.count(range, now), (service, of))).collect();
    let mut rest: Option<Stats> = None;
    services.iter().filter_map(|service| service.operations.rest()).for_each(|more| rest.get_or_insert_default().merge(more));
    let table = Table::new(items, limit, rest.map(|rest| base.of(&rest)), |of| row(base, of, total));
    let [called_by, calls] = neighbours;
    State::json(&Answer { table, called_by, calls })
}

/// A row. `total`: the time of all operations of the answer.
fn row<'a>(base: Base<'_>, (service, of): (&Service, &'a Operation), total: u64) -> OperationRow<'a> {
    let sums = of.stats.over(base.range, base.model.now());
    let mut results: Vec<(&str, u64)> = of.results.iter().map(|(result, count)| (&**result, *count)).collect();
    results.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    OperationRow {
        service: ServiceId::of(service).to_string(),
        name: &of.name,
        numbers: base.of(&of.stats),
        time_percent: rounded(sums.nanos as f64 * 100.0 / total.max(1) as f64),
        results,
        first_us: micros(of.first),
    }
}

fn neighbour(of: Neighbour<'_>) -> NeighbourRow {
    NeighbourRow { name: of.name, service: of.service.map(|service| ServiceId::of(service).to_string()), rate: rounded(of.rate) }
}
