//! RESP2, Redis' protocol: writes commands and reads replies. <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Maximum length of a line of a reply.
const MAX_LINE: usize = 64 << 10;

/// Maximum length of a string of a reply. The longest expected one is that of INFO.
const MAX_STRING: usize = 16 << 20;

/// A reply of the server. Arrays are not supported, because no command that this program sends has one as its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Text(String),
    Number(i64),
    Error(String),
}

/// Appends the beginning of a command with `words` words. The words follow.
pub(super) fn begin(words: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{words}\r\n").as_bytes());
}

/// Appends a word of a command.
pub(super) fn word(word: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// A whole command.
pub(super) fn command(words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    begin(words.len(), &mut out);
    words.iter().for_each(|text| word(text.as_bytes(), &mut out));
    out
}

/// Reads a reply.
///
/// # Errors
/// When the connection ends, or the bytes are not a reply.
pub(super) async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Reply> {
    let line = line(stream).await?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "this is not a reply of Redis");
    let (kind, text) = line.split_at_checked(1).ok_or_else(invalid)?;
    match kind {
        "+" => Ok(Reply::Text(text.to_owned())),
        "-" => Ok(Reply::Error(text.to_owned())),
        ":" => text.parse().map(Reply::Number).map_err(|_| invalid()),
        "$" if text == "-1" => Ok(Reply::Text(String::new())),
        "$" => {
            let length: usize = text.parse().ok().filter(|length| *length <= MAX_STRING).ok_or_else(invalid)?;
            let mut string = vec![0; length + 2];
            stream.read_exact(&mut string).await?;
            string.truncate(length);
            Ok(Reply::Text(String::from_utf8_lossy(&string).into_owned()))
        }
        _ => Err(invalid()),
    }
}

/// Reads a line without its end.
async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    stream.take(MAX_LINE as u64).read_until(b'\n', &mut line).await?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None if line.is_empty() => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "this is not a reply of Redis")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn replies_of_each_kind() {
        let mut all = &b"+OK\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n-OOM command not allowed\r\n"[..];
        let text = |text: &str| Reply::Text(text.into());
        for expected in [text("OK"), Reply::Number(-7), text("a\r\n"), text(""), Reply::Error("OOM command not allowed".into())] {
            assert_eq!(read(&mut all).await.unwrap(), expected);
        }
        let long = format!("+{}\r\n", "x".repeat(MAX_LINE));
        for wrong in ["", "+O", "\r\n", ":x\r\n", "*1\r\n", "$-2\r\n", "$99999999999\r\n", "$3\r\nab", "HTTP/1.1 400\r\n", &long] {
            assert!(read(&mut wrong.as_bytes()).await.is_err(), "{wrong:.50}");
        }
    }

    #[test]
    fn commands_are_arrays_of_strings() {
        assert_eq!(command(&["AUTH", "", "\u{e9}"]), "*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$2\r\n\u{e9}\r\n".as_bytes());
    }
}
