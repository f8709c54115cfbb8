//! One HTTP request (RFC 1945) over a connection that is open already, for the APIs of look-ups.

use std::io::{ErrorKind, Read, Write};

/// Maximum length of a response.
const MAX_RESPONSE: u64 = 4 << 20;

/// Requests `path`. Returns the status and the body.
///
/// # Errors
/// When the connection fails or the response is no HTTP.
pub(super) fn get(stream: &mut (impl Read + Write), host: &str, path: &str) -> Result<(u16, Vec<u8>), String> {
    // The request has HTTP version 1.0, so that the server sends no chunks and closes the connection after the body.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut response = Vec::new();
    match stream.take(MAX_RESPONSE).read_to_end(&mut response) {
        // Some servers close a TLS connection without saying so. A response that is cut is no JSON.
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error.to_string()),
        _ => {}
    }
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").ok_or("the response has no end of its header")?;
    let (head, body) = response.split_at_checked(end + 4).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or("the response has no status")?, body.to_vec()))
}
