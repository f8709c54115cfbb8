//! Writes rows as comma-separated lines, as Packetbeat does in `response`.

/// Appends a line of column names, each of which was appended with [`name`].
pub fn name(line: &mut Vec<u8>, name: &[u8]) {
    if !line.is_empty() {
        line.push(b',');
    }
    field(line, name, false);
}

/// Appends a value of a row. LF and CR are written as two characters each: a backslash and `n` or `r`.
pub fn value(line: &mut Vec<u8>, value: &[u8], first: bool) {
    if !first {
        line.push(b',');
    }
    field(line, value, true);
}

fn field(line: &mut Vec<u8>, text: &[u8], row: bool) {
    let leading = text.utf8_chunks().next().and_then(|c| c.valid().chars().next());
    let space = leading.is_some_and(|c| c.is_whitespace() && c != '\n' && !(row && c == '\r'));
    let quoted = space || text == b"\\." || text.iter().any(|b| matches!(b, b',' | b'"') || !row && *b == b'\r');
    if quoted {
        line.push(b'"');
    }
    for &b in text {
        match b {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' if row => line.extend_from_slice(b"\\r"),
            b'"' => line.extend_from_slice(b"\"\""),
            _ => line.push(b),
        }
    }
    if quoted {
        line.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        let mut line = vec![];
        for (i, text) in ["a", "", "b,c", "say \"x\"", " y", "two\r\nlines"].into_iter().enumerate() {
            value(&mut line, text.as_bytes(), i == 0);
        }
        assert_eq!(String::from_utf8(line).unwrap(), r#"a,,"b,c","say ""x"""," y",two\r\nlines"#);
        let mut line = vec![];
        name(&mut line, b"x");
        name(&mut line, b"a\nb");
        assert_eq!(String::from_utf8(line).unwrap(), r"x,a\nb");
    }
}
