//! `detect_mime_type`: detects the MIME type of a field's text. The `infer` crate recognises magic numbers; other text
//! is classified by the rules of <https://mimesniff.spec.whatwg.org/>.

use super::{AtStart, Decision, Factory, Facts, ProcessorKind, Shared, kit, options::options, shared};
use crate::{
    config::Error,
    enrich::HostData,
    event::{constants::Constants, tree::Tree},
    opening::Opening,
};
use serde_json::Value;

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "detect_mime_type",
    about: "Detects the MIME type of a text: from the magic numbers of file formats, or by the rules of browsers for texts.",
    example: "field: http.request.body.content\ntarget: http.request.mime_type",
    options: &[("", DetectMimeType::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct DetectMimeType {
        /// The field with the text.
        field: String,
        /// The field for the MIME type.
        target: String,
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    Ok(shared(DetectMimeType::read(opening.node)?))
}

impl Shared for DetectMimeType {
    fn apply_at_start(&self, constants: &mut Constants, facts: &Facts, _: &HostData) -> AtStart {
        if kit::never_has(&self.field, constants, facts) { AtStart::Done } else { AtStart::PerEvent }
    }

    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        let found = event.get(&self.field).and_then(Value::as_str).filter(|text| !text.is_empty()).and_then(|text| detect(text.as_bytes()));
        if let Some(Err(error)) = found.map(|mime| event.put(&self.target, mime.into())) {
            log::debug!("detect_mime_type: {}: {error}", self.target);
        }
        Decision::Keep
    }
}

/// Number of leading bytes in which magic numbers are searched. Office documents need this many.
const HEADER: usize = 8192;
/// Number of leading bytes that decide between text and binary data.
const SNIFFED: usize = 512;

fn detect(data: &[u8]) -> Option<&'static str> {
    let header = data.get(..HEADER).unwrap_or(data);
    let kind = infer::get(header).map(|kind| kind.mime_type());
    // A text type of `infer` is not used, because `infer` is less strict about text types than the standard.
    if let Some(mime) = kind.filter(|mime| !mime.starts_with("text/")) {
        return Some(mime);
    }
    let start = data.get(..SNIFFED).unwrap_or(data);
    let trimmed = start.trim_ascii_start();
    if is_html(trimmed) {
        return Some("text/html; charset=utf-8");
    }
    if trimmed.starts_with(b"<?xml") {
        return Some("text/xml; charset=utf-8");
    }
    if start.starts_with(b"%PDF-") {
        return Some("application/pdf");
    }
    let binary = |&b: &u8| matches!(b, 0..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if trimmed.iter().any(binary) {
        return None;
    }
    if serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok() {
        return Some("application/json");
    }
    Some(if is_xml(data.trim_ascii()) { "text/xml" } else { "text/plain; charset=utf-8" })
}

fn is_html(text: &[u8]) -> bool {
    const TAGS: [&[u8]; 17] = [
        b"<!doctype html",
        b"<html",
        b"<head",
        b"<script",
        b"<iframe",
        b"<h1",
        b"<div",
        b"<font",
        b"<table",
        b"<a",
        b"<style",
        b"<title",
        b"<b",
        b"<body",
        b"<br",
        b"<p",
        b"<!--",
    ];
    TAGS.iter().any(|tag| {
        let start = text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
        start && text.get(tag.len()).is_some_and(|&after| after == b' ' || after == b'>')
    })
}

/// Whether the text looks like one XML element: it begins with a start tag and ends with the matching end tag. The function does not parse
/// the XML.
fn is_xml(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"<") else { return false };
    let length = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || b":_-.".contains(b))).unwrap_or(rest.len());
    let Some(name) = rest.get(..length).filter(|name| name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')) else {
        return false;
    };
    let Some(before) = rest.trim_ascii_end().strip_suffix(b">") else { return false };
    let closed = before.trim_ascii_end().strip_suffix(name).is_some_and(|before| before.ends_with(b"</"));
    closed || (before.ends_with(b"/") && !before.contains(&b'>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_text() {
        for (text, expected) in [
            (&b"hello"[..], Some("text/plain; charset=utf-8")),
            (b"{\"a\": [1]}", Some("application/json")),
            (b"  <!DOCTYPE html>\n<p>", Some("text/html; charset=utf-8")),
            (b"<html ><p>", Some("text/html; charset=utf-8")),
            (b"<?xml version='1.0'?><a/>", Some("text/xml; charset=utf-8")),
            (b"<note><to>you</to></note>", Some("text/xml")),
            (b"<note/>", Some("text/xml")),
            (b"<note> is not closed", Some("text/plain; charset=utf-8")),
            (b"user=monica&telephon=8932784368", Some("text/plain; charset=utf-8")),
            (b"\x89PNG\x0d\x0a\x1a\x0a", Some("image/png")),
            (b"%PDF-1.7", Some("application/pdf")),
            (b"\x1f\x8b\x08\0\0\0", Some("application/gzip")),
            (b"\x01\x02\x03 nothing known", None),
        ] {
            assert_eq!(detect(text), expected, "{}", text.escape_ascii());
        }
    }
}
