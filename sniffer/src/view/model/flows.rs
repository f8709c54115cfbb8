//! Flows, joined by client and service: how many connections there are and what they transport.

use crate::{
    net::{Count, FlowRecord, Transport},
    process::Ends,
    time::Timestamp,
};
use hashbrown::HashMap;
use std::{net::SocketAddr, time::Duration};

/// Maximum number of flows. The flow that was reported longest ago is dropped for a new one; its bytes stay counted.
pub const MOST_FLOWS: usize = 10_000;
/// Maximum number of rows. The flows of further clients and services are counted together.
pub const MOST_ROWS: usize = 5000;
/// A flow without a report for this time is over. Flows are reported at least this often while packets arrive.
const OPEN: Duration = Duration::from_secs(30);

/// The flows between one client and one service.
#[derive(Clone, Debug, Default)]
pub struct FlowRow {
    /// The address of the client, without its port, which differs from flow to flow.
    pub client: Option<SocketAddr>,
    /// Address and port of the server.
    pub server: Option<SocketAddr>,
    /// The transport protocol; `None` for flows of other protocols.
    pub transport: Option<Transport>,
    /// The process of the client and that of the server.
    pub processes: Ends,
    /// Number of flows since the start.
    pub flows: u64,
    /// What the client and what the server sent.
    pub counts: [Count; 2],
    /// Bytes per second that the client and that the server sent, between the last two reports of each flow.
    pub rates: [f64; 2],
    /// Number of flows with a report in the last half minute.
    pub open: u64,
}

/// What is known about one flow.
#[derive(Clone, Debug)]
struct Known {
    row: usize,
    /// The last report.
    record: FlowRecord,
    processes: Ends,
    rates: [f64; 2],
}

/// What a row stands for: client, server and transport.
type RowKey = (Option<SocketAddr>, Option<SocketAddr>, Option<Transport>);

/// The flows.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    rows: Vec<FlowRow>,
    index: HashMap<RowKey, usize>,
    known: HashMap<Box<[u8]>, Known>,
    /// The flows beyond [`MOST_ROWS`].
    rest: Option<Box<FlowRow>>,
}

impl Flows {
    /// Counts the report of a flow, which has everything since its first packet.
    pub fn add(&mut self, of: &FlowRecord, processes: &Ends) {
        let transport = of.key.parts(of.reversed).transport();
        let [client, server] = of.ends().map_or([None; 2], |ends| ends.map(Some));
        let counts = of.by_end();
        let before = self.known.get(of.key.bytes()).map(|known| (known.row, known.record.end, known.record.by_end()));
        let row = match &before {
            Some((row, ..)) => *row,
            None => self.row((client.map(|socket| SocketAddr::new(socket.ip(), 0)), server, transport), processes),
        };
        let since = before.map_or(of.start, |(_, end, _)| end);
        // A flow with one packet has no time in which it could be transported.
        let seconds = (of.end.since(since) as f64 / 1e9).max(1.0);
        let old = before.map_or([Count::default(); 2], |(.., counts)| counts);
        let mut rates = [0.0; 2];
        let target = match self.rows.get_mut(row) {
            Some(row) => row,
            None => self.rest.get_or_insert_default(),
        };
        target.flows += u64::from(before.is_none());
        for (((sum, new), old), rate) in target.counts.iter_mut().zip(counts).zip(old).zip(&mut rates) {
            let more = new.bytes.saturating_sub(old.bytes);
            sum.bytes = sum.bytes.saturating_add(more);
            sum.packets = sum.packets.saturating_add(new.packets.saturating_sub(old.packets));
            *rate = more as f64 / seconds;
        }
        if before.is_none() && self.known.len() >= MOST_FLOWS {
            self.forget();
        }
        self.known.insert(of.key.bytes().into(), Known { row, record: of.clone(), processes: processes.clone(), rates });
    }

    /// The place of a row, which is added if there is room.
    fn row(&mut self, key: (Option<SocketAddr>, Option<SocketAddr>, Option<Transport>), processes: &Ends) -> usize {
        if let Some(row) = self.index.get(&key) {
            return *row;
        }
        if self.rows.len() >= MOST_ROWS {
            return MOST_ROWS;
        }
        let (client, server, transport) = key;
        self.index.insert(key, self.rows.len());
        self.rows.push(FlowRow { client, server, transport, processes: processes.clone(), ..FlowRow::default() });
        self.rows.len() - 1
    }

    /// Forgets the older half of the flows, so that the search is rare.
    fn forget(&mut self) {
        let mut ends: Vec<Timestamp> = self.known.values().map(|known| known.record.end).collect();
        let middle = ends.len() / 2;
        let (_, limit, _) = ends.select_nth_unstable(middle);
        let limit = *limit;
        let mut left = middle;
        self.known.retain(|_, known| {
            let goes = left > 0 && known.record.end <= limit;
            left -= usize::from(goes);
            !goes
        });
    }

    /// The rows, with rates and open flows at `now`, and the flows beyond [`MOST_ROWS`] as the last row, which has no addresses.
    pub fn rows(&self, now: Timestamp) -> Vec<FlowRow> {
        let mut rows: Vec<FlowRow> = self.rows.clone();
        rows.extend(self.rest.as_deref().cloned());
        for known in self.known.values().filter(|known| Duration::from_nanos(now.since(known.record.end)) <= OPEN) {
            if let Some(row) = rows.get_mut(known.row) {
                row.open += 1;
                row.rates.iter_mut().zip(known.rates).for_each(|(sum, rate)| *sum += rate);
            }
        }
        rows
    }

    /// The last report of each flow, and the processes at its ends.
    pub fn known(&self) -> impl Iterator<Item = (&FlowRecord, &Ends)> {
        self.known.values().map(|known| (&known.record, &known.processes))
    }

    /// Whether there are flows beyond [`MOST_ROWS`].
    pub fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether no flow was reported.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::StoredKey;
    use crate::view::testing::TIME;

    /// A flow of UDP from 10.0.x.y, whose client has this port, to 10.0.0.2:53.
    fn flow(client: u16, port: u16, bytes: u64, seconds: u64) -> FlowRecord {
        let ([high, low], [p, q]) = (client.to_be_bytes(), port.to_le_bytes());
        let key = [4, 0, 1, 0, 255, 0, 255, 255, 9, 0, high, low, 10, 0, 0, 2, p, q, 53, 0];
        let end = Timestamp(TIME.0 + seconds * 1_000_000_000);
        let counts = [Count { packets: bytes / 100, bytes }, Count { packets: 1, bytes: 50 }];
        FlowRecord { start: TIME, end, counts, ..FlowRecord::new(StoredKey::new(&key), false, TIME) }
    }

    #[test]
    fn reports_of_a_flow_are_not_added_twice() {
        let mut flows = Flows::default();
        for (port, bytes, second) in [(1, 1000, 2), (1, 4000, 4), (2, 500, 1), (1, 4000, 4)] {
            flows.add(&flow(1, port, bytes, second), &Ends::NONE);
        }
        flows.add(&flow(7, 1, 100, 5), &Ends::NONE);
        let rows = flows.rows(Timestamp(TIME.0 + 10_000_000_000));
        let [first, second] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(
            (first.flows, first.open, first.counts[0], first.counts[1]),
            (2, 2, Count { packets: 45, bytes: 4500 }, Count { packets: 2, bytes: 100 })
        );
        assert_eq!((first.client, first.server), (Some("9.0.0.1:0".parse().unwrap()), Some("10.0.0.2:53".parse().unwrap())));
        assert_eq!((first.transport, second.flows), (Some(Transport::Udp), 1));
        let later = flows.rows(Timestamp(TIME.0 + 33_000_000_000));
        assert_eq!(later.iter().map(|row| row.open).collect::<Vec<_>>(), [1, 1], "a flow without a report is over");
    }

    #[test]
    fn the_rate_is_that_of_the_last_report() {
        let mut flows = Flows::default();
        flows.add(&flow(1, 1, 1000, 2), &Ends::NONE);
        flows.add(&flow(1, 1, 4000, 4), &Ends::NONE);
        assert_eq!(flows.rows(TIME)[0].rates, [1500.0, 0.0]);
    }

    #[test]
    fn flows_and_rows_are_limited() {
        let mut flows = Flows::default();
        for client in 0..MOST_FLOWS as u16 + 500 {
            flows.add(&flow(client, 1, 100, u64::from(client)), &Ends::NONE);
        }
        let rows = flows.rows(TIME);
        assert_eq!((rows.len(), rows[MOST_ROWS].flows), (MOST_ROWS + 1, (MOST_FLOWS + 500 - MOST_ROWS) as u64));
        assert_eq!(rows.iter().map(|row| row.counts[0].bytes).sum::<u64>(), 100 * (MOST_FLOWS as u64 + 500), "no bytes are lost");
        assert!(flows.known.len() <= MOST_FLOWS && flows.known.len() > MOST_FLOWS / 3, "{}", flows.known.len());
    }
}
