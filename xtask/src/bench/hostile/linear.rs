//! `bench hostile linear`: messages in segments of one byte. The cost of a segment must not depend on the data before
//! it or on its length. A protocol that parses a message again from its start at each segment exceeds the bounds.

use super::{
    capture::{self, Connection},
    conversations::{BODY, CASES, Case, Order},
};
use crate::bench::{Scratch, measure};
use std::path::Path;

/// Number of segments in the longer input of a pair. The shorter input has half as many.
const SEGMENTS: usize = 400_000;
/// Number of runs per measurement. The result is that of the cheapest run, because other processes can only add to the cost.
const RUNS: usize = 3;
/// Maximum ratio of the cost of a segment to the cost of a segment of a skipped HTTP body.
const MOST_TIMES_A_BODY: f64 = 3.0;
/// Maximum ratio of the cost of the longer input to the cost of the shorter input.
const MOST_TIMES_HALF: f64 = 2.4;
/// CPU seconds below which the ratio of two runs is not meaningful.
const SHORTEST: f64 = 0.05;
/// Bytes per connection with [`Order::Connections`].
const SHORT_CONNECTION: usize = 5000;
/// Number of segments in a block, in which [`Order::Reversed`] and [`Order::Mixed`] change the order.
const BLOCK: usize = 1000;

/// Prints the table; returns the rows that exceed a bound.
pub fn run(scratch: &Scratch, program: &Path) -> Result<Vec<String>, String> {
    println!(
        "Segments of one byte, {SEGMENTS} of them (best of {RUNS} runs). Bounds: at most {MOST_TIMES_A_BODY} times a skipped HTTP body, and at most"
    );
    println!("{MOST_TIMES_HALF} times as long as half of the input.\n");
    println!("| case | ns a segment | × body | × half | |");
    println!("|---|---|---|---|---|");
    let start = seconds(scratch, program, &BODY, 0)?;
    let body = (seconds(scratch, program, &BODY, SEGMENTS)? - start).max(1e-9);
    let mut out = Vec::new();
    for case in std::iter::once(&BODY).chain(CASES) {
        let (half, whole) =
            match seconds(scratch, program, case, SEGMENTS / 2).and_then(|half| Ok((half, seconds(scratch, program, case, SEGMENTS)?))) {
                Ok(both) => both,
                Err(error) => {
                    println!("| {} | | | | failed |", case.name);
                    out.push(format!("{}: {error}", case.name));
                    continue;
                }
            };
        let (half, whole) = (half - start, whole - start);
        let (to_body, to_half) = (whole / body, whole / half.max(1e-9));
        let wrong = to_body > MOST_TIMES_A_BODY || (whole > SHORTEST && to_half > MOST_TIMES_HALF);
        let verdict = if wrong { "out of bounds" } else { "" };
        println!("| {} | {:.0} | {to_body:.2} | {to_half:.2} | {verdict} |", case.name, whole * 1e9 / SEGMENTS as f64);
        if wrong {
            out.push(format!("{}: {to_body:.2} times a skipped body, {to_half:.2} times half of the input", case.name));
        }
    }
    Ok(out)
}

/// The CPU seconds of the cheapest run over `segments` segments of a case.
fn seconds(scratch: &Scratch, program: &Path, case: &Case, segments: usize) -> Result<f64, String> {
    let path = scratch.path("linear.pcap");
    write(&path, case, segments).map_err(|e| format!("{}: {e}", path.display()))?;
    let config = scratch.write("linear.yml", case.config().as_bytes())?;
    let (config, capture, home) = (config.to_string_lossy(), path.to_string_lossy(), scratch.path("home"));
    let home = home.to_string_lossy();
    let args = ["-e", "-t", "-I", &*capture, "-c", &*config, "--path.home", &*home];
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        best = best.min(measure::cost(scratch, program, &args)?.cpu);
        // If one run takes this long, further runs would not change the result.
        if best > 5.0 {
            break;
        }
    }
    scratch.remove(&path);
    Ok(best)
}

fn write(path: &Path, case: &Case, segments: usize) -> std::io::Result<()> {
    let mut capture = capture::create(path, capture::STEP)?;
    let bytes = (case.make)(segments);
    let of_connection = if case.order == Order::Connections { SHORT_CONNECTION } else { segments.max(1) };
    let (mut left, mut number) = (segments, 0);
    while left > 0 {
        let now = left.min(of_connection).min(bytes.len());
        let mut connection = Connection::open(&mut capture, number, case.port)?;
        if !case.request.is_empty() {
            connection.data(&mut capture, 0, case.request)?;
        }
        let side = usize::from(!case.request.is_empty());
        let (block, order): (_, fn(&mut [usize])) = match case.order {
            Order::Reversed => (BLOCK, |order| order.reverse()),
            Order::Mixed => (BLOCK, mix),
            Order::AsSent | Order::Connections => (usize::MAX, |_| ()),
        };
        connection.bytes(&mut capture, side, &bytes[..now], block.min(now.max(1)), order)?;
        left -= now;
        number += 1;
        if now < of_connection && case.order != Order::Connections {
            break;
        }
    }
    capture.finish().map(drop)
}

/// Shuffles the offsets with a linear congruential generator, so the order is the same in every run.
fn mix(order: &mut [usize]) {
    let mut state = 12_345_u64;
    for at in (1..order.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(at, (state >> 33) as usize % (at + 1));
    }
}
