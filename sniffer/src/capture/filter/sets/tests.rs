//! Tests of what is replaced by sets. [`super::super::differential`] compares the programs with libpcap's.

use super::*;

fn text(expression: &str) -> Option<(String, bool, Vec<usize>)> {
    let grouped = group(parse(expression)?)?;
    let sizes = grouped.sets.iter().map(|(_, set)| set.ranges().len()).collect();
    Some((grouped.text(Variant::First), grouped.may_be_optimized(), sizes))
}

fn list(test: &str, count: u32, or: &str) -> String {
    (1..=count).map(|n| format!("{test}{n}")).collect::<Vec<_>>().join(or)
}

#[test]
fn lists_that_become_sets() {
    let hosts = list("host 10.0.0.", 8, " or ");
    // Each case has the expression, and what is made of it: the text with placeholders, whether libpcap may optimise it, and the sizes of
    // the sets.
    type Expected<'a> = Option<(&'a str, bool, &'a [usize])>;
    let cases: &[(String, Expected<'_>)] = &[
        (list("port ", 8, " or "), Some(("port 60000", true, &[8]))),
        (list("port ", 7, " or "), None),
        (list("tcp port ", 9, " || "), Some(("tcp port 60000", true, &[9]))),
        (format!("port {}", list("", 8, " or ")), Some(("port 60000", true, &[8]))),
        (format!("src net ({})", list("10.0.0.0/", 8, " or ").replace("0/", "0/2")), Some(("src host 240.90.0.0", true, &[1]))),
        (
            format!("{} or icmp or {hosts}", list("udp port ", 8, " or ")),
            Some(("(udp port 60000 or icmp or host 240.90.0.2)", true, &[8, 8])),
        ),
        (format!("{} or icmp or icmp6 or udp", list("port ", 8, " or ")), Some(("(port 60000 or icmp or icmp6 or udp)", true, &[8]))),
        (format!("({hosts}) and not tcp"), Some(("(host 240.90.0.0 and not (tcp))", true, &[8]))),
        (format!("({hosts}) and not host 10.0.0.1"), Some(("(host 240.90.0.0 and not (host 10.0.0.1))", false, &[8]))),
        (format!("not ({hosts})"), Some(("not (host 240.90.0.0)", false, &[8]))),
        (list("not port ", 8, " and "), Some(("not (port 60000)", false, &[8]))),
        (format!("({hosts}) and not vlan"), Some(("(host 240.90.0.0 and not (vlan))", true, &[8]))),
        // Tests that must stay behind the tests before them.
        (format!("vlan and ({hosts})"), None),
        (format!("({hosts}) and (vlan or tcp)"), None),
        (format!("mpls or {hosts}"), None),
        // Values whose keywords are not known.
        (format!("port http or {}", list("", 8, " or ")), None),
        (format!("{hosts} or localhost"), None),
        // The tests compare two parts of the packet.
        (list("src and dst port ", 8, " or "), None),
        // Arithmetic in parentheses.
        (format!("{hosts} or (ip[0] & 0xf) != 5"), None),
        (format!("({hosts}"), None),
        (format!("{hosts} or"), None),
        (format!("{}{hosts}{}", "(".repeat(100), ")".repeat(100)), None),
        (String::new(), None),
    ];
    for (expression, expected) in cases {
        let expected = expected.map(|(text, optimized, sizes)| (text.to_owned(), optimized, sizes.to_vec()));
        assert_eq!(text(expression), expected, "{expression}");
    }
}

/// libpcap's optimiser takes a time that grows with the square of the number of hosts. Without sets, an expression with a million hosts
/// would not be compiled in any useful time.
#[test]
fn a_list_of_any_length_is_short_as_a_program() {
    let hosts = (0..20_000_u32).map(|n| std::net::Ipv4Addr::from_bits(0x0a00_0000 + 7 * n)).collect::<Vec<_>>();
    let expression = hosts.iter().map(|host| format!("host {host}")).collect::<Vec<_>>().join(" or ");
    for link in [Link::Ethernet, Link::RawIp, Link::LinuxSll2] {
        let program = compile(&expression, link).unwrap();
        assert!(program.ops().len() < 30, "{link:?}: {} instructions", program.ops().len());
        assert_eq!(program.sets().iter().map(|set| set.ranges().len()).collect::<Vec<_>>(), [hosts.len()]);
    }
}

#[test]
fn an_invalid_expression_is_refused_with_libpcaps_message() {
    let hosts = list("host 10.0.0.", 8, " or ");
    for (expression, link, expected) in [
        (format!("{hosts} or port 99999"), Link::Ethernet, "illegal port number"),
        (format!("tcp {hosts}"), Link::Ethernet, "'tcp' modifier applied to host"),
        (format!("{hosts} and ether host 00:11:22:33:44:55"), Link::RawIp, "ethernet"),
    ] {
        let error = compile(&expression, link).unwrap_err().to_string();
        assert!(error.contains(expected), "{expression}: want `{expected}`, have `{error}`");
    }
}
