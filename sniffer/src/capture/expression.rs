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
}
