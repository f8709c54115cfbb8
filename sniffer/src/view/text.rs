//! Makes text from the network safe and measurable on a terminal. Characters that could control the terminal or change the order of other
//! characters are written as escapes.

use unicode_width::UnicodeWidthChar;

/// Which characters the terminal can display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charset {
    /// Only ASCII; the locale is not UTF-8.
    #[default]
    Ascii,
    /// UTF-8. Characters of ambiguous width (UAX #11) take one column.
    Utf8,
    /// UTF-8 in a Chinese, Japanese or Korean locale. Characters of ambiguous width take two columns.
    Utf8Wide,
}

impl Charset {
    /// The charset of the locale `name`, such as `de_DE.UTF-8`.
    pub fn of_locale(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        match (lower.contains("utf-8") || lower.contains("utf8"), ["zh", "ja", "ko"].iter().any(|start| lower.starts_with(start))) {
            (false, _) => Self::Ascii,
            (true, false) => Self::Utf8,
            (true, true) => Self::Utf8Wide,
        }
    }

    /// The number of columns of a character; `None` if it has to be escaped.
    fn columns(self, c: char) -> Option<usize> {
        match (c, self) {
            (' '..='~', _) => Some(1),
            (_, Self::Ascii) => None,
            _ if !is_displayed(c) => None,
            // A combining character has no column. Any number of them would fit in a column, so they are escaped.
            (_, Self::Utf8) => c.width().filter(|&columns| columns > 0),
            (_, Self::Utf8Wide) => c.width_cjk().filter(|&columns| columns > 0),
        }
    }
}

/// Appends `text` to `out` in at most `most` columns, and returns the number of columns. A longer text is cut and ends with `~`. Characters
/// that a terminal does not merely display become escapes: `\n`, `\x1b`, `\u{202e}`.
pub fn push(out: &mut String, text: &str, most: usize, charset: Charset) -> usize {
    // Most texts need neither escapes nor a cut.
    if text.len() <= most && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        out.push_str(text);
        return text.len();
    }
    let (mut used, start) = (0, out.len());
    // The end of `out`, and its columns, after the last character that leaves room for the mark of a cut.
    let mut cut = (start, 0);
    for c in text.chars() {
        let before = out.len();
        let columns = match charset.columns(c) {
            Some(columns) => {
                out.push(c);
                columns
            }
            None => {
                escape(out, c);
                out.len() - before
            }
        };
        if used + columns > most {
            out.truncate(cut.0);
            if most > 0 {
                out.push('~');
            }
            return cut.1 + usize::from(most > 0);
        }
        used += columns;
        if used < most {
            cut = (out.len(), used);
        }
    }
    used
}

/// Appends the escape of a character, which is ASCII.
fn escape(out: &mut String, c: char) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\0'..='\u{ff}' => {
            out.push_str("\\x");
            for digit in [u32::from(c) >> 4, u32::from(c) & 15] {
                out.push(DIGITS.get(digit as usize).map_or('?', |&digit| char::from(digit)));
            }
        }
        c => out.extend(c.escape_unicode()),
    }
}

/// Whether a terminal displays the character in its place. The result is false for control characters, for characters that change the
/// direction of text (UAX #9), for letters that are written from right to left, because a terminal may move the columns beside them, for
/// line separators and for invisible characters.
fn is_displayed(c: char) -> bool {
    let is_invisible = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}');
    let is_right_to_left = matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}');
    !c.is_control() && !is_invisible && !is_right_to_left
}

/// A text as a quoted field of CSV (RFC 4180). A text that a spreadsheet would read as a formula gets an apostrophe.
pub fn csv_text(text: &str) -> String {
    let formula = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{formula}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, most: usize, charset: Charset) -> (String, usize) {
        let mut out = String::new();
        let columns = push(&mut out, text, most, charset);
        (out, columns)
    }

    #[test]
    fn hostile_characters_become_escapes() {
        for (text, expected) in [
            ("a\u{1b}[2J", "a\\x1b[2J"),
            ("\u{7}\u{7f}\0", "\\x07\\x7f\\x00"),
            ("\u{9b}31m", "\\x9b31m"),
            ("a\r\n\tb", "a\\r\\n\\tb"),
            ("\u{202e}\u{2066}\u{61c}", "\\u{202e}\\u{2066}\\u{61c}"),
            ("\u{feff}\u{2028}\u{e0041}", "\\u{feff}\\u{2028}\\u{e0041}"),
            ("e\u{301}\u{301}", "e\\u{301}\\u{301}"),
            ("שa", "\\u{5e9}a"),
            ("Grüße 你好 🙂", "Grüße 你好 🙂"),
        ] {
            assert_eq!(shown(text, 100, Charset::Utf8).0, expected);
        }
        assert_eq!(shown("Grü你", 100, Charset::Ascii).0, "Gr\\xfc\\u{4f60}");
    }

    #[test]
    fn a_text_is_cut_to_columns() {
        for (text, most, charset, expected, columns) in [
            ("abc", 3, Charset::Utf8, "abc", 3),
            ("abcd", 3, Charset::Utf8, "ab~", 3),
            ("你好", 4, Charset::Utf8, "你好", 4),
            ("你好", 3, Charset::Utf8, "你~", 3),
            ("你好", 2, Charset::Utf8, "~", 1),
            ("a\u{1b}b", 5, Charset::Utf8, "a~", 2),
            ("ab", 1, Charset::Utf8, "~", 1),
            ("ab", 0, Charset::Utf8, "", 0),
            ("→→", 2, Charset::Utf8, "→→", 2),
            ("→→", 3, Charset::Utf8Wide, "→~", 3),
        ] {
            assert_eq!(shown(text, most, charset), (expected.to_owned(), columns), "{text} in {most}");
        }
        let long = "x".repeat(300);
        assert_eq!(shown(&long, 24, Charset::Utf8), ("x".repeat(23) + "~", 24));
    }

    #[test]
    fn the_charset_of_a_locale() {
        for (name, expected) in [
            ("", Charset::Ascii),
            ("C", Charset::Ascii),
            ("de_DE.ISO-8859-1", Charset::Ascii),
            ("C.UTF-8", Charset::Utf8),
            ("en_US.utf8", Charset::Utf8),
            ("zh_CN.UTF-8", Charset::Utf8Wide),
        ] {
            assert_eq!(Charset::of_locale(name), expected, "{name}");
        }
    }
}
