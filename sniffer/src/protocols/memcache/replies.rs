//! Parses the server's lines of the text protocol, and decides to which request a response can belong.
//!
//! <https://github.com/memcached/memcached/blob/master/doc/protocol.txt>

use super::{
    message::{Kind, Message},
    wire::{Ask, LONGEST_VALUE, Line, Words, decode_key, keep_args, number, signed},
};

/// Parses a line of the server, without its line end, into a response that may have begun with other lines. `front` is
/// the kind of the oldest request.
pub fn reply(line: &[u8], m: &mut Message, front: Option<Ask>) -> Line {
    known_reply(line, m, front).unwrap_or(Line::Unknown)
}

fn known_reply(line: &[u8], m: &mut Message, front: Option<Ask>) -> Option<Line> {
    let mut words = Words(line);
    let name = words.next()?;
    let begun = !m.command.is_empty();
    let of_dump = match front {
        Some(Ask::Dump) => !ends_dump(name),
        Some(Ask::Stats) => matches!(name, b"ITEM" | b"PREFIX"),
        _ => false,
    };
    if of_dump {
        if !begun {
            (m.command, m.kind) = ("END", Kind::Load);
        }
        return Some(Line::More);
    }
    let mut set = |command, kind| (m.command, m.kind) = (command, kind);
    match name {
        b"VALUE" => {
            let (key, flags) = (words.next()?, number(words.next()?)?);
            let bytes = number(words.next()?).filter(|n| *n <= LONGEST_VALUE)?;
            let cas = words.next().map_or(Some(0), number)?;
            if !begun {
                set("VALUE", Kind::Load);
                (m.flags, m.cas_unique) = (Some(flags), Some(cas));
            }
            m.key(key);
            m.bytes = Some(m.bytes.unwrap_or(0).saturating_add(bytes));
            return Some(Line::Value(bytes));
        }
        b"STAT" => {
            let stat = words.next()?;
            if !begun {
                set("STAT", Kind::Stats);
            }
            m.stat(stat, words.0.strip_prefix(b" ").unwrap_or_default());
            return Some(Line::More);
        }
        b"END" if begun => {}
        b"END" => set("END", Kind::Load),
        b"STORED" => set("STORED", Kind::Success),
        b"EXISTS" => set("EXISTS", Kind::Success),
        b"DELETED" => set("DELETED", Kind::Success),
        b"TOUCHED" => set("TOCHED", Kind::Success), // as Packetbeat spells it
        b"OK" => set("OK", Kind::Success),
        b"RESET" => set("RESET", Kind::Success),
        b"NOT_STORED" => set("NOT_STORED", Kind::Fail),
        b"NOT_FOUND" => set("NOT_FOUND", Kind::Fail),
        b"ERROR" => set("ERROR", Kind::Fail),
        b"VERSION" => set("VERSION", Kind::Info),
        b"HD" => set("HD", Kind::Success),
        b"VA" => {
            let bytes = words.next().and_then(number).filter(|n| *n <= LONGEST_VALUE)?;
            set("VA", Kind::Load);
            m.bytes = Some(bytes);
            meta_reply(words, m);
            return Some(Line::Value(bytes));
        }
        b"EN" if begun => {}
        b"EN" => set("EN", Kind::Load),
        b"NF" => set("NF", Kind::Fail),
        b"NS" => set("NS", Kind::Fail),
        b"EX" => set("EX", Kind::Fail),
        b"MN" => set("MN", Kind::Info),
        b"ME" => set("ME", Kind::Info),
        _ => match REFUSALS.iter().find(|refusal| refusal.as_bytes() == name) {
            Some(refusal) => {
                set(refusal, Kind::Fail);
                m.error_msg = Some(m.keep(words.0.strip_prefix(b" ").unwrap_or_default()));
            }
            None => {
                m.value = Some(number(name)?);
                (m.command, m.kind) = ("<counter_op_res>", Kind::Counter);
            }
        },
    }
    match m.command {
        "HD" | "NF" | "NS" | "EX" => meta_reply(words, m),
        "ME" => {
            m.key(words.next()?);
            keep_args(words.0, m);
        }
        // A line that should be a single word but has more text is part of a value, not a response.
        "END" | "STORED" | "EXISTS" | "DELETED" | "TOCHED" | "NOT_STORED" | "NOT_FOUND" | "RESET" | "EN" | "MN" | "<counter_op_res>"
            if words.next().is_some() =>
        {
            return None;
        }
        _ => {}
    }
    Some(Line::Whole)
}

fn ends_dump(name: &[u8]) -> bool {
    matches!(name, b"END" | b"EN" | b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR" | b"BUSY" | b"BADCLASS")
}

/// Responses that contain an error text.
const REFUSALS: &[&str] = &["CLIENT_ERROR", "SERVER_ERROR", "BUSY", "BADCLASS", "NOSPARE", "NOTFULL", "UNSAFE", "SAME"];

fn meta_reply(words: Words<'_>, m: &mut Message) {
    keep_args(words.0, m);
    for flag in words {
        let Some((name, token)) = flag.split_first() else { continue };
        match name {
            b'b' if token.is_empty() => decode_key(m),
            b'k' => m.key(token),
            b'f' => m.flags = number(token),
            b't' => m.exptime = signed(token),
            b'c' => m.cas_unique = number(token),
            b'O' => m.opaque = number(token),
            b's' if m.bytes.is_none() => m.bytes = number(token),
            _ => {}
        }
    }
}

/// Whether `reply` can be the response to `request`.
pub fn fits(request: &Message, reply: &Message) -> bool {
    if matches!(reply.command, "ERROR" | "CLIENT_ERROR" | "SERVER_ERROR") {
        return !request.silent();
    }
    match request.ask {
        Ask::Load => match reply.command {
            "VALUE" => reply.keys.first().is_none_or(|&key| request.has_key(reply.get(key))),
            command => command == "END",
        },
        Ask::Store => matches!(reply.command, "STORED" | "NOT_STORED" | "EXISTS" | "NOT_FOUND"),
        Ask::Counter => matches!(reply.command, "<counter_op_res>" | "NOT_FOUND"),
        Ask::Touch => matches!(reply.command, "TOCHED" | "NOT_FOUND"),
        Ask::Delete => matches!(reply.command, "DELETED" | "NOT_FOUND"),
        Ask::Okay | Ask::Watch => reply.command == "OK" || reply.error_msg.is_some(),
        Ask::Stats => matches!(reply.command, "STAT" | "END" | "OK" | "RESET"),
        Ask::Dump => matches!(reply.command, "END" | "EN" | "OK") || reply.error_msg.is_some(),
        Ask::Version => reply.command == "VERSION",
        Ask::Nothing => false,
        Ask::Unknown => !matches!(reply.command, "VALUE" | "STAT" | "STORED" | "VA" | "HD" | "<counter_op_res>" | "MN"),
        Ask::MetaGet => meta_fits(request, reply, matches!(reply.command, "HD" | "VA" | "EN"), reply.command == "EN"),
        Ask::MetaSet => meta_fits(request, reply, matches!(reply.command, "HD" | "NS" | "EX" | "NF"), reply.command == "HD"),
        Ask::MetaDelete => meta_fits(request, reply, matches!(reply.command, "HD" | "NF" | "EX"), matches!(reply.command, "HD" | "NF")),
        Ask::MetaCounter => {
            let hidden = matches!(reply.command, "HD" | "VA" | "NF");
            meta_fits(request, reply, matches!(reply.command, "HD" | "VA" | "NF" | "NS" | "EX"), hidden)
        }
        Ask::MetaNoop => reply.command == "MN",
        Ask::MetaDebug => matches!(reply.command, "ME" | "EN"),
    }
}

/// Whether a meta response fits its request. `hidden`: a quiet request suppresses this response. A returned opaque or
/// key must equal that of the request.
fn meta_fits(request: &Message, reply: &Message, code: bool, hidden: bool) -> bool {
    code && !(request.quiet && hidden)
        && (reply.opaque.is_none() || reply.opaque == request.opaque)
        && reply.keys.first().is_none_or(|&key| request.has_key(reply.get(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::memcache::wire::request;

    fn asked(line: &[u8]) -> (Line, Message) {
        let mut m = Message::default();
        (request(line, &mut m), m)
    }

    fn parsed(line: &[u8]) -> (Line, Message) {
        let mut m = Message::default();
        (reply(line, &mut m, None), m)
    }

    #[test]
    fn replies() {
        let (line, m) = parsed(b"VALUE k 1 2 3");
        assert_eq!((line, m.flags, m.bytes, m.cas_unique), (Line::Value(2), Some(1), Some(2), Some(3)));
        assert_eq!(parsed(b"18446744073709551615").1.value, Some(u64::MAX));
        let (line, m) = parsed(b"SERVER_ERROR out of memory");
        assert_eq!((line, m.get(m.error_msg.unwrap())), (Line::Whole, &b"out of memory"[..]));
        let (line, m) = parsed(b"VA 2 kfoo f5 c9 t-1");
        assert_eq!((line, m.flags, m.cas_unique, m.exptime, m.has_key(b"foo")), (Line::Value(2), Some(5), Some(9), Some(-1), true));
        assert!(parsed(b"HD kZm9v b").1.has_key(b"foo"));
        for bad in [&b"VALUE k 1"[..], b"STORED x", b"12 x", b"99999999999999999999", b"stored", b"", b"END OF"] {
            assert_eq!(parsed(bad).0, Line::Unknown, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn which_responses_fit_which_requests() {
        let (_, get) = asked(b"get a b");
        assert!(fits(&get, &parsed(b"VALUE b 0 0").1) && fits(&get, &parsed(b"END").1) && fits(&get, &parsed(b"ERROR").1));
        assert!(!fits(&get, &parsed(b"VALUE c 0 0").1) && !fits(&get, &parsed(b"STORED").1));
        let (_, quiet) = asked(b"mg a v q O1");
        assert!(fits(&quiet, &parsed(b"VA 1 O1").1) && !fits(&quiet, &parsed(b"EN").1) && !fits(&quiet, &parsed(b"VA 1 O2").1));
    }
}
