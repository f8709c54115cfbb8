//! The answer to `/api/export`: the kept transactions as a file.

use super::{
    parameters::{Parameters, Refused},
    state::State,
    tail::{Row, Selection, row, write},
};
use crate::view::text::csv_text;
use std::io::Write;

/// The columns of CSV.
const COLUMNS: &str = "seq,time_us,duration_ns,protocol,client,client_port,client_process,server,server_port,process,service,operation,\
                       query,result,status,error,bytes_client,bytes_server";

/// The name, the type and the content of a file.
type File = (&'static str, &'static str, Vec<u8>);

/// Answers the request.
///
/// # Errors
/// When a parameter is wrong.
pub fn answer(state: &State, parameters: &Parameters) -> Result<File, Refused> {
    let is_csv = match parameters.get("format") {
        Some("ndjson") => false,
        Some("csv") => true,
        _ => return Err(Refused::parameter("format", "write format=ndjson or format=csv")),
    };
    let mut selection = Selection::read(state, parameters)?;
    let (mut out, mut operation) = (Vec::new(), String::new());
    if is_csv {
        out.extend(format!("{COLUMNS}\r\n").into_bytes());
    }
    for (seq, of) in state.live.kept.iter().filter(|(_, of)| selection.selects(of)) {
        of.with(|of| {
            let row = row(&state.live, seq, of, &mut operation);
            if is_csv {
                csv(&row, &mut out);
                return Ok(());
            }
            write(&row, &mut out)?;
            out.push(b'\n');
            Ok(())
        })?;
    }
    Ok(match is_csv {
        true => ("transactions.csv", "text/csv; charset=utf-8", out),
        false => ("transactions.ndjson", "application/x-ndjson; charset=utf-8", out),
    })
}

/// Appends a line of CSV (RFC 4180).
fn csv(of: &Row<'_>, out: &mut Vec<u8>) {
    fn known<T: ToString>(of: Option<T>) -> String {
        of.map_or_else(String::new, |of| of.to_string())
    }
    let [client_process, process] = [&of.client_process, &of.process].map(|process| process.as_ref().map_or("", |process| process.name));
    let [sent, received] = of.bytes;
    let fields = [
        of.seq.to_string(),
        of.time_us.to_string(),
        known(of.duration_ns),
        csv_text(of.protocol),
        known(of.client),
        known(of.client_port),
        csv_text(client_process),
        known(of.server),
        known(of.server_port),
        csv_text(process),
        csv_text(&of.service),
        csv_text(of.operation),
        csv_text(of.query),
        csv_text(of.result),
        csv_text(of.status),
        of.error.to_string(),
        sent.to_string(),
        received.to_string(),
    ];
    // Writing to memory does not fail.
    let _ = write!(out, "{}\r\n", fields.join(","));
}
