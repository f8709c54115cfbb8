//! Tests that the packets of the program's own connections are left out, and no others.

use super::*;
use crate::net::{Count, FlowDelta, OwnConnections, own::Socket};
use std::sync::atomic::{AtomicUsize, Ordering};

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";
const SERVER: u16 = 6379;

/// An engine whose output has a server on port 6379, and the sockets of "this process".
struct Host {
    bench: Bench,
    sockets: Arc<Mutex<Vec<Socket>>>,
    connections: Arc<OwnConnections>,
    listed: Arc<AtomicUsize>,
}

impl Host {
    fn new(flows: Option<&str>) -> Self {
        Self::with_ports(flows, &[9200, SERVER])
    }

    /// An engine whose output has servers on these ports.
    fn with_ports(flows: Option<&str>, ports: &[u16]) -> Self {
        let (sockets, listed): (Arc<Mutex<Vec<Socket>>>, Arc<AtomicUsize>) = Default::default();
        let (shown, counted) = (sockets.clone(), listed.clone());
        let connections = Arc::new(OwnConnections::new(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(shown.lock().unwrap().clone())
        })));
        let mut settings = settings(&[(1, "redis", "{}", &[SERVER])], flows);
        let local = vec!["10.0.0.1".parse().unwrap()];
        settings.own = Some(Own { ports: ports.to_vec(), local, connections: connections.clone(), listens: Vec::new() });
        Self { bench: Bench::new(settings), sockets, connections, listed }
    }

    /// Sets the local ports of the sockets of this process, with their cookies.
    fn has(&self, ports: &[(u16, u64)]) {
        let socket = |&(port, cookie)| Socket { local: ([10, 0, 0, 1], port).into(), remote: ([10, 0, 0, 2], SERVER).into(), cookie };
        *self.sockets.lock().unwrap() = ports.iter().map(socket).collect();
    }

    fn syn(&mut self, port: u16) {
        self.bench.tcp(port, SERVER, true, SYN, 0, b"");
    }

    fn talk(&mut self, port: u16) {
        self.bench.tcp(port, SERVER, true, ACK, 1, PING);
        self.bench.tcp(port, SERVER, false, ACK, 1, PONG);
    }

    fn next_poll(&mut self) {
        self.bench.engine.exchange(&*self.bench.control);
    }

    /// Number of documents since the last call, and number of own packets since the start.
    fn seen(&mut self) -> (usize, u64) {
        (self.bench.documents().len(), self.bench.counter("capture.own").unwrap_or_default())
    }

    fn lists(&self) -> usize {
        self.listed.load(Ordering::Relaxed)
    }
}

#[test]
fn another_program_may_talk_to_the_same_server() {
    let mut h = Host::new(None);
    h.has(&[(4000, 7)]);
    for port in [4000, 4001] {
        h.syn(port);
        h.next_poll();
        h.talk(port);
    }
    assert_eq!((h.seen(), h.lists()), ((1, 3), 2));
    h.talk(4000);
    assert_eq!((h.seen(), h.lists()), ((0, 5), 2), "known: nothing is listed again");
}

#[test]
fn flows_of_own_connections_are_not_reported() {
    let mut h = Host::new(Some("{}"));
    h.has(&[(4000, 7)]);
    h.syn(4000);
    h.talk(4000);
    assert_eq!((h.seen(), h.bench.counter("flows.active")), ((0, 3), Some(0)));
}

/// The brokers of a Kafka cluster, Kibana and the servers of processors have ports that the output's settings do not contain.
#[test]
fn own_connections_to_a_port_that_was_announced() {
    let mut h = Host::with_ports(Some("{}"), &[]);
    h.has(&[(4000, 7)]);
    h.talk(4000);
    assert_eq!((h.seen(), h.lists(), h.bench.counter("flows.active")), ((1, 0), 0, Some(1)), "the port is not announced");
    h.connections.expect(SERVER);
    h.has(&[(4001, 8)]);
    for port in [4001, 4002] {
        h.next_poll();
        h.syn(port);
        h.talk(port);
    }
    assert_eq!((h.seen(), h.bench.counter("flows.active")), ((1, 3), Some(2)), "another program talks to the same server");
}

#[test]
fn connections_that_were_open_before_the_capture() {
    let mut h = Host::new(None);
    h.has(&[(4000, 7)]);
    h.talk(4000);
    h.next_poll();
    h.talk(4001);
    assert_eq!((h.seen(), h.lists()), ((1, 2), 2));
}

#[test]
fn the_ends_are_used_again_by_another_process() {
    let mut h = Host::new(None);
    h.has(&[(4000, 7)]);
    h.syn(4000);
    h.talk(4000);
    h.next_poll();
    h.syn(4000); // a retransmission while the connection is open
    h.talk(4000);
    assert_eq!(h.seen(), (0, 6));
    // The socket is closed, and another process gets its port.
    h.has(&[]);
    h.next_poll();
    h.syn(4000);
    h.talk(4000);
    assert_eq!(h.seen(), (1, 6));
    // This process gets the port again.
    h.has(&[(4000, 8)]);
    h.next_poll();
    h.syn(4000);
    h.talk(4000);
    assert_eq!(h.seen(), (0, 9));
}

#[test]
fn a_connection_that_ended_before_its_packets_are_read() {
    let mut h = Host::new(None);
    // The output reports the connection when it is open.
    h.has(&[(4000, 7)]);
    h.connections.refresh();
    h.has(&[]);
    h.connections.refresh();
    h.syn(4000);
    h.talk(4000);
    assert_eq!(h.seen(), (0, 3));
    h.next_poll();
    h.syn(4000);
    h.talk(4000);
    assert_eq!(h.seen(), (1, 3), "its ends are used again");
}

#[test]
fn sockets_are_listed_a_few_times_per_poll_and_only_for_ports_of_outputs() {
    let mut h = Host::new(None);
    for port in 4000..4100 {
        h.syn(port);
        h.talk(port);
    }
    assert_eq!((h.seen().0, h.lists()), (100, 8));
    // A socket that was opened after the last listing is recognised from the next poll on.
    h.has(&[(4200, 7)]);
    h.syn(4200);
    h.next_poll();
    h.talk(4200);
    assert_eq!((h.seen(), h.lists()), ((0, 2), 9));
    // Segments other than SYNs cause one listing.
    h.next_poll();
    for port in 5000..5100 {
        h.talk(port);
    }
    assert_eq!((h.seen().0, h.lists()), (100, 10));
    for _ in 0..10 {
        h.next_poll();
        // The ports are not those of an output, or the client is not this host.
        h.bench.tcp(4000, 6380, true, SYN, 0, b"");
        h.bench.tcp(SERVER, 6380, false, SYN, 0, b"");
    }
    assert_eq!((h.seen(), h.lists()), ((0, 2), 10));
}

#[test]
fn an_own_connection_is_recognised_although_another_one_was_opened_in_the_same_poll() {
    let mut h = Host::new(Some("{}"));
    h.syn(4001);
    h.has(&[(4000, 7)]);
    h.syn(4000);
    h.talk(4000);
    assert_eq!((h.seen().1, h.bench.counter("flows.active")), (3, Some(1)));
}

#[test]
fn very_many_connections_are_forgotten_and_asked_about_again() {
    let mut h = Host::new(None);
    h.has(&[(4000, 7)]);
    h.syn(4000);
    for port in 10_000..30_000 {
        h.next_poll();
        h.syn(port);
    }
    let before = h.lists();
    h.next_poll();
    h.talk(4000);
    assert_eq!((h.seen(), h.lists()), ((0, 3), before), "own connections are remembered");
}

#[test]
fn own_connections_that_the_kernel_counts_are_not_reported() {
    let mut h = Host::new(Some("{}"));
    h.bench.engine = h.bench.engine.with_kernel_flows(0, Duration::ZERO);
    h.has(&[(4000, 7)]);
    let now = Timestamp(h.bench.now);
    let delta = |port: u16, to: u16| FlowDelta {
        vlans: Vlans::default(),
        source: "10.0.0.1".parse().unwrap(),
        destination: "10.0.0.2".parse().unwrap(),
        ports: Some((Transport::Tcp, port, to)),
        connection: None,
        macs: None,
        icmp: None,
        count: Count { packets: 5, bytes: 500 },
        start: now,
        end: now,
    };
    h.bench.control.answers(|answers| answers.flows = vec![delta(4000, SERVER), delta(4001, SERVER), delta(4000, 80)]);
    h.bench.at(20);
    h.next_poll();
    assert_eq!((h.seen().1, h.bench.counter("flows.active"), h.lists()), (5, Some(2), 1));
}
