//! Edits of pcap-filter(7) expressions as text. This module does not compile expressions.

/// Removes the alternatives `or (vlan …)` from an expression; `None` when it has none. For frames without an Ethernet
/// header libpcap refuses the keyword `vlan`, because they cannot carry a tag.
pub(super) fn without_vlans(expression: &str) -> Option<String> {
    let mut rest = expression;
    let mut plain = String::new();
    while let Some((before, group)) = rest.split_once(" or (vlan") {
        plain.push_str(before);
        let mut depth = 1_usize;
        let end = group.char_indices().find(|(_, c)| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        rest = group.get(end?.0 + 1..)?;
    }
    plain.push_str(rest);
    (plain.len() < expression.len()).then_some(plain)
}

/// Keywords that test the link header or a header between the link header and the IP header, or that shift all offsets
/// after them.
const SHIFTS: [&str; 6] = ["vlan", "mpls", "pppoed", "pppoes", "geneve", "vxlan"];

/// Whether an expression tests the link header, tags or labels. Such an expression refers to the whole frame, so it is
/// not applied to the headers after VLAN tags. An expression with `protochain` is not applied there either, because it
/// compiles to a loop.
pub(super) fn reads_link_header(expression: &str) -> bool {
    let words: Vec<&str> =
        expression.split(|c: char| c.is_whitespace() || "()!&|<>=".contains(c)).filter(|word| !word.is_empty()).collect();
    let of_link = |word: &str| matches!(word, "ether" | "link" | "fddi" | "tr" | "wlan" | "ppp" | "slip");
    words.iter().any(|word| SHIFTS.contains(word) || *word == "protochain" || word.split_once('[').is_some_and(|(of, _)| of_link(of)))
        || words.windows(2).any(|pair| matches!(pair, [of, what] if of_link(of) && (*what == "proto" || what.starts_with('['))))
}

/// Extends an expression to frames with one or two VLAN tags: such a frame matches if it matches without its tags. An
/// expression with a negation (`not tcp port 22`) would match every tagged frame, so it is applied only where no
/// further tag follows. The tests for tags read fixed offsets, because the keyword `vlan` would shift all offsets after
/// it.
pub(super) fn through_tags(expression: &str) -> String {
    let untagged = |at: u32| format!("not (ether[{at}:2] = 0x8100 or ether[{at}:2] = 0x88a8 or ether[{at}:2] = 0x9100)");
    let (first, second) = (untagged(12), untagged(16));
    format!("(({expression}) and {first}) or (vlan and ((({expression}) and {second}) or (vlan and ({expression}))))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_with_tags() {
        let cases = [
            ("tcp port 80 or (vlan and (tcp port 80))", Some("tcp port 80")),
            ("not host 10.0.0.1 and (udp or (vlan and (udp or (vlan and udp))))", Some("not host 10.0.0.1 and (udp)")),
            ("a or (vlan and a) or (vlan and vlan and (a)) and b", Some("a and b")),
            ("tcp port 80", None),
            ("vlan and tcp", None),
            ("tcp or (vlan and (tcp", None),
        ];
        for (expression, plain) in cases {
            assert_eq!(without_vlans(expression).as_deref(), plain, "{expression}");
        }
    }

    #[test]
    fn expressions_about_the_link_header() {
        for (expression, expected) in [
            ("tcp port 80", false),
            ("not host 10.0.0.1 and (udp or icmp)", false),
            ("ether host 02:00:00:00:00:01", false),
            ("ip[6:2] & 0x1fff != 0", false),
            ("host vlan.example", false),
            ("vlan", true),
            ("tcp or(vlan 7 and tcp)", true),
            ("ether proto 0x8100", true),
            ("ether[12:2]=0x8100", true),
            ("link [0] = 1", true),
            ("!mpls&&tcp", true),
            ("ip6 protochain 6", true),
        ] {
            assert_eq!(reads_link_header(expression), expected, "{expression}");
        }
    }
}
