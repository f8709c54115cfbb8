//! `bench hostile memory`: traffic that makes the program hold as many bytes as possible. The peak memory must stay
//! below `memory.max` plus the program's own memory, and the ordinary transactions in the traffic must be reported.

use super::{
    capture,
    floods::{CASES, Case, Flood, GOOD},
};
use crate::bench::{Scratch, measure};
use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

/// The default of `memory.max`, in bytes.
const BUDGET: f64 = 256e6;
/// Maximum of the peak memory in bytes: the budget, a tenth for the overhead of the allocator, and 32 MB for the program itself.
pub const BOUND: f64 = BUDGET * 1.1 + 32e6;
/// Maximum length in bytes of the document of an ordinary transaction. This check does not read longer documents into memory.
const LONGEST: usize = 16 << 10;

const PROTOCOLS: &str = r#"packetbeat.protocols:
- {type: icmp, enabled: true}
- {type: amqp, ports: [5672]}
- {type: cassandra, ports: [9042], send_request: true, send_response: true}
- {type: dhcpv4, ports: [67, 68]}
- {type: dns, ports: [53]}
- {type: http, ports: [80, 8080], include_body_for: [text]}
- {type: memcache, ports: [11211]}
- {type: mysql, ports: [3306]}
- {type: pgsql, ports: [5432]}
- {type: redis, ports: [6379]}
- {type: thrift, ports: [9090]}
- {type: mongodb, ports: [27017], send_request: true, send_response: true, max_docs: 0, max_doc_length: 0}
- {type: nfs, ports: [2049]}
- {type: sip, ports: [5060]}
- {type: tls, ports: [443]}
"#;

/// Prints the table; returns the rows that exceed the bound, or in which ordinary transactions are missing.
pub fn run(scratch: &Scratch, program: &Path) -> Result<Vec<String>, String> {
    println!("Floods. Bound: peak memory of at most {:.0} MB; every ordinary transaction is reported.\n", BOUND / 1e6);
    println!("| case | input MB | reported | expected | peak MB | |");
    println!("|---|---|---|---|---|---|");
    let mut out = Vec::new();
    for case in CASES {
        match measure(scratch, program, case) {
            Ok(row) => {
                let peak = row.peak * f64::from(1 << 20);
                let wrong = peak > BOUND || row.reported != row.expected;
                let verdict = if wrong { "out of bounds" } else { "" };
                let (input, peak) = (row.input as f64 / 1e6, peak / 1e6);
                println!("| {} | {input:.1} | {} | {} | {peak:.0} | {verdict} |", case.name, row.reported, row.expected);
                if wrong {
                    out.push(format!("{}: {} of {} reported, {peak:.0} MB", case.name, row.reported, row.expected));
                }
            }
            Err(error) => {
                println!("| {} | | | | | failed |", case.name);
                out.push(format!("{}: {error}", case.name));
            }
        }
    }
    Ok(out)
}

struct Row {
    /// Bytes of the capture.
    input: u64,
    reported: usize,
    expected: usize,
    /// Peak memory in MB (2^20 bytes).
    peak: f64,
}

fn measure(scratch: &Scratch, program: &Path, case: &Case) -> Result<Row, String> {
    let Prepared { capture: path, events, config, expected } = prepare(scratch, case, capture::STEP, "logging.metrics.enabled: false\n")?;
    let input = path.metadata().map_err(|e| format!("{}: {e}", path.display()))?.len();
    let home = scratch.path("home");
    let (config, capture, home) = (config.to_string_lossy(), path.to_string_lossy(), home.to_string_lossy());
    let cost = measure::cost(scratch, program, &["-e", "-t", "-I", &*capture, "-c", &*config, "--path.home", &*home]);
    scratch.remove(&path);
    Ok(Row { input, reported: take_reported(scratch, &events)?, expected, peak: cost?.memory })
}

/// The files of a case.
pub struct Prepared {
    /// The capture with the flood.
    pub capture: PathBuf,
    /// The folder to which the program writes its documents.
    pub events: PathBuf,
    /// The configuration file of the program.
    pub config: PathBuf,
    /// The number of ordinary transactions in the capture.
    pub expected: usize,
}

/// Writes the capture of a case, with `step` nanoseconds between two frames, and its configuration, which begins with `options`.
pub fn prepare(scratch: &Scratch, case: &Case, step: u64, options: &str) -> Result<Prepared, String> {
    let (capture, events) = (scratch.path("flood.pcap"), scratch.path("events"));
    scratch.remove(&events);
    let failed = |e: io::Error| format!("{}: {e}", capture.display());
    let mut flood = Flood::new(capture::create(&capture, step).map_err(failed)?);
    let expected = (case.write)(&mut flood).map_err(failed)?;
    flood.capture.finish().map_err(failed)?;
    let output = format!("output.file: {{path: {}, filename: events, rotate_every_kb: 4000000, permissions: 0600}}\n", events.display());
    let config = scratch.write("flood.yml", [options, PROTOCOLS, case.options, &output].concat().as_bytes())?;
    Ok(Prepared { capture, events, config, expected })
}

/// Counts the documents of ordinary transactions in the files of a folder, and removes the folder.
pub fn take_reported(scratch: &Scratch, events: &Path) -> Result<usize, String> {
    let count = reported(events).map_err(|e| format!("{}: {e}", events.display()));
    scratch.remove(events);
    count
}

/// Counts the documents of ordinary transactions in the files of a folder.
fn reported(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in folder.read_dir()? {
        let mut file = BufReader::new(File::open(entry?.path())?);
        let (mut line, mut too_long) = (Vec::new(), false);
        loop {
            let part = file.fill_buf()?;
            if part.is_empty() {
                break;
            }
            let end = part.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(part.len(), |end| end + 1);
            too_long |= line.len() + taken > LONGEST;
            if !too_long {
                line.extend_from_slice(&part[..taken]);
            }
            file.consume(taken);
            if end.is_some() {
                let good = !too_long && String::from_utf8_lossy(&line).contains(GOOD);
                count += usize::from(good);
                line.clear();
                too_long = false;
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_ordinary_transactions_are_counted() {
        let folder = std::env::temp_dir().join(format!("hostile-memory-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let long = "x".repeat(100_000);
        std::fs::write(folder.join("events"), format!("{{\"a\":\"{GOOD}\"}}\n{{}}\n{GOOD}{long}\n{{\"b\":\"{GOOD}\"}}\n")).unwrap();
        let count = reported(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(count.unwrap(), 2);
    }
}
