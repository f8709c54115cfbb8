//! Tests of steps of the wall clock while a device is captured.

use super::*;

const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
const ANSWER: &[u8] = b"\x12\x34\x81\x80\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";

/// A device whose clock is set while it is captured. `Bench::now` is the wall clock.
struct Device {
    bench: Bench,
    /// The steady time.
    steady: u64,
}

impl Device {
    fn new() -> Self {
        let mut bench = Bench::new(settings(&[(1, "dns", "{}", &[53]), (2, "redis", "{}", &[6379])], Some("{timeout: 30s, period: -1s}")));
        bench.now = 100_000 * SECOND;
        Self { steady: bench.now, bench }
    }

    /// Waits without packets. The worker looks at the clock before each poll.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..10 * seconds {
            self.steady += SECOND / 10;
            self.bench.now += SECOND / 10;
            self.bench.engine.observe_clock(Timestamp(self.steady), Timestamp(self.bench.now));
            self.bench.engine.advance(Timestamp(self.steady));
        }
    }

    fn set_clock(&mut self, by: i64) {
        self.bench.now = self.bench.now.saturating_add_signed(by * SECOND as i64);
    }

    fn documents(&mut self) -> Vec<Value> {
        self.bench.engine.flush();
        std::mem::take(&mut *self.bench.documents.lock().unwrap())
    }
}

/// Returns the documents of the type `kind`.
fn of<'a>(kind: &str, documents: &'a [Value]) -> Vec<&'a Value> {
    documents.iter().filter(|d| d["type"] == kind).collect()
}

#[test]
fn what_waits_goes_on_waiting_and_documents_have_the_new_time() {
    for by in [3600, -3600, 30 * 86_400, 20, -20] {
        let mut d = Device::new();
        d.wait(1);
        d.bench.udp(4000, 53, true, QUERY);
        d.bench.tcp(4001, 6379, true, ACK, 1, b"*1\r\n$4\r\nPING\r\n");
        d.wait(2);
        d.set_clock(by);
        d.wait(2);
        d.bench.udp(4000, 53, false, ANSWER);
        d.bench.tcp(4001, 6379, false, ACK, 1, b"+PONG\r\n");
        d.wait(1);
        let documents = d.documents();
        assert_eq!((documents.len(), d.bench.counter("time.steps")), (2, Some(1)), "{by} s: {documents:#?}");
        for document in &documents {
            assert_eq!(document["status"], "OK", "{by} s: {document:#}");
            let took = document["event"]["duration"].as_u64().unwrap() / SECOND;
            assert!((3..=4).contains(&took), "{by} s: {document:#}");
            assert!(document["@timestamp"].as_str().unwrap().starts_with("1970-01-02T03:46:4"), "{by} s: {document:#}");
        }
        // A request after the step has the new time, and its time-out is as long as always.
        let new_time = Timestamp(d.bench.now).text(3).as_str()[..15].to_owned();
        d.bench.udp(4002, 53, true, QUERY);
        d.wait(8);
        assert_eq!(of("dns", &d.documents()).len(), 0, "{by} s");
        d.wait(3);
        let documents = d.documents();
        assert_eq!(of("dns", &documents).len(), 1, "{by} s: {documents:#?}");
        assert!(of("dns", &documents)[0]["@timestamp"].as_str().unwrap().starts_with(&new_time), "{by} s: {documents:#?}");
        // The flows end after 30 s of silence.
        assert_eq!(of("flow", &documents).len(), 0);
        d.wait(40);
        let documents = d.documents();
        let flows = of("flow", &documents);
        assert_eq!(flows.len(), 3, "{by} s: {documents:#?}");
        assert!(flows.iter().all(|flow| flow["event"]["duration"].as_u64().unwrap() / SECOND < 5), "{by} s: {documents:#?}");
    }
}

#[test]
fn packets_after_a_step_that_was_not_noticed_before_the_poll() {
    let mut d = Device::new();
    d.wait(1);
    d.bench.udp(4000, 53, true, QUERY);
    d.wait(1);
    d.set_clock(3600);
    let data = [0; 4];
    let frame = |time| Frame {
        time: Timestamp(time),
        link: Link::RawIp,
        data: &data,
        wire_len: 4,
        tag: None,
        ifindex: 0,
        segments: Default::default(),
        task: Default::default(),
    };
    assert!(d.bench.engine.is_unexpected(&frame(d.bench.now)) && !d.bench.engine.is_unexpected(&frame(d.bench.now - 3600 * SECOND)));
    d.bench.engine.observe_clock(Timestamp(d.steady), Timestamp(d.bench.now));
    assert!(!d.bench.engine.is_unexpected(&frame(d.bench.now)));
    d.bench.udp(4000, 53, false, ANSWER);
    let documents = d.documents();
    assert_eq!((documents.len(), &documents[0]["status"]), (1, &"OK".into()), "{documents:#?}");
}
