//! Parses the structure of a pcap-filter(7) expression: alternatives, conjunctions, negations, and single tests. A test of a host, a network
//! or a port with a number is parsed to its value; every other test stays text.
//!
//! `and` and `or` have the same precedence and associate to the left. A value without keywords has those of the test before it (`port 80 or
//! 443`).

use crate::capture::filter::cbpf::Values;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Depth to which parentheses and negations may be nested.
const DEEPEST: usize = 64;

/// Keywords that are a complete test, without a value.
const ALONE: [&str; 14] =
    ["ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "vlan", "inbound", "outbound", "multicast"];

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Alternatives, at least two.
    Or(Vec<Tree>),
    /// Conditions that all must hold, at least two.
    And(Vec<Tree>),
    /// A negation.
    Not(Box<Tree>),
    /// A test of an address or a port for one value or range.
    Test(Test),
    /// A test for membership in a set, which replaces several tests. The number is the index of the set.
    Set(usize),
    /// Any other test, as it is written.
    Text(String),
}

/// What a test compares, and with which values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// What is compared.
    pub subject: Subject,
    /// The first and the last value.
    pub range: (u128, u128),
    /// The test as text, with all its keywords.
    pub text: String,
}

/// The part of a packet that a test compares. One set can replace several alternatives that compare the same part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The protocol and the direction: `tcp src`, or empty.
    pub qualifiers: String,
    /// Whether the values are ports, or addresses of which version of IP.
    pub values: Values,
}

/// The keywords before a value.
#[derive(Clone, Debug, Default)]
struct Keywords {
    protocol: String,
    direction: String,
    /// `host`, `net`, `port` or `portrange`; empty if it is not written.
    kind: String,
}

/// Parses `expression`. `None` if its structure is not understood; libpcap may accept it nevertheless.
pub fn parse(expression: &str) -> Option<Tree> {
    let tokens = tokens(expression)?;
    let mut parser = Parser { tokens: &tokens, at: 0, before: None, depth: 0 };
    let tree = parser.alternatives()?;
    (parser.at == tokens.len()).then_some(tree)
}

/// Divides an expression into words, parentheses and operators. `and`, `or` and `not` stand for `&&`, `||` and `!`.
fn tokens(expression: &str) -> Option<Vec<&str>> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '(' | ')' => 1,
            '&' | '|' => 1 + usize::from(rest.get(1..)?.starts_with(first)),
            '!' if !rest.starts_with("!=") => 1,
            _ => word(rest)?,
        };
        let (token, after) = rest.split_at_checked(len)?;
        tokens.push(match token {
            "&&" => "and",
            "||" => "or",
            "!" => "not",
            token => token,
        });
        rest = after.trim_start();
    }
    Some(tokens)
}

/// The length of the word at the beginning of `text`. What is in brackets belongs to the word.
fn word(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.checked_sub(1)?,
            c if depth == 0 && (c.is_whitespace() || "()&|".contains(c)) => return Some(at),
            '!' if depth == 0 && at > 0 => return Some(at),
            _ => {}
        }
    }
    (depth == 0).then_some(text.len())
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    at: usize,
    /// The keywords of the last test; `None` before the first test and after one that stays text.
    before: Option<Keywords>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).copied()
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    /// Parses terms joined by `and` and `or`.
    fn alternatives(&mut self) -> Option<Tree> {
        let mut tree = self.term()?;
        loop {
            if self.take("or") {
                let term = self.term()?;
                tree = match tree {
                    Tree::Or(mut terms) => {
                        terms.push(term);
                        Tree::Or(terms)
                    }
                    first => Tree::Or(vec![first, term]),
                };
            } else if self.take("and") {
                let term = self.term()?;
                tree = match tree {
                    Tree::And(mut terms) => {
                        terms.push(term);
                        Tree::And(terms)
                    }
                    first => Tree::And(vec![first, term]),
                };
            } else {
                return Some(tree);
            }
        }
    }

    fn term(&mut self) -> Option<Tree> {
        self.depth += 1;
        let term = if self.depth > DEEPEST {
            None
        } else if self.take("not") {
            self.term().map(|term| Tree::Not(Box::new(term)))
        } else if self.take("(") {
            self.in_parentheses()
        } else {
            self.test()
        };
        self.depth -= 1;
        term
    }

    /// Parses up to the closing parenthesis.
    fn in_parentheses(&mut self) -> Option<Tree> {
        let tree = self.alternatives()?;
        // `(ip[0] & 0xf) != 5` is arithmetic.
        let closed = self.take(")") && !self.peek().is_some_and(is_operator);
        closed.then_some(tree)
    }

    /// Parses a single test.
    fn test(&mut self) -> Option<Tree> {
        let words = self.words();
        if words.is_empty() || words.last().is_some_and(|word| is_operator(word)) {
            return None;
        }
        let bare = words.len() == 1;
        match keywords(&words) {
            Some((keywords, Some(value))) => {
                let keywords = if bare { self.before.clone() } else { Some(keywords) };
                if let Some(test) = keywords.as_ref().and_then(|keywords| keywords.test(value)) {
                    self.before = keywords;
                    return Some(Tree::Test(test));
                }
            }
            // `port (80 or 443)`: the values in the parentheses have these keywords.
            Some((keywords, None)) if self.take("(") => {
                self.before = Some(keywords);
                return self.in_parentheses();
            }
            _ => {}
        }
        // Another single word is a name that has the keywords of the test before it (`port http or https`).
        if self.peek() == Some("(") || bare && !words.iter().all(|word| ALONE.contains(word)) {
            return None;
        }
        self.before = None;
        Some(Tree::Text(words.join(" ")))
    }

    /// Takes the words up to the next operator of the structure. An `or` or `and` between `src` and `dst` is part of the test.
    fn words(&mut self) -> Vec<&'a str> {
        let mut words = Vec::new();
        while let Some(word) = self.peek() {
            let between = matches!(word, "or" | "and")
                && matches!((words.last(), self.tokens.get(self.at + 1)), (Some(&"src"), Some(&"dst")) | (Some(&"dst"), Some(&"src")));
            if matches!(word, "or" | "and" | "not" | "(" | ")") && !between {
                break;
            }
            words.push(word);
            self.at += 1;
        }
        words
    }
}

/// Whether the word is, or begins with, an operator of arithmetic.
fn is_operator(word: &str) -> bool {
    word.starts_with(['=', '<', '>', '!', '&', '|', '+', '-', '*', '/', '%', '^'])
}

/// Divides the words of a test into keywords and a value. `None` unless the test compares an address or a port with a number.
fn keywords<'a>(words: &[&'a str]) -> Option<(Keywords, Option<&'a str>)> {
    let mut found = Keywords::default();
    let mut words = words.iter().copied().peekable();
    if let Some(protocol) = words.next_if(|word| matches!(*word, "ip" | "ip6" | "arp" | "rarp" | "tcp" | "udp" | "sctp")) {
        found.protocol = protocol.to_owned();
    }
    if let Some(direction) = words.next_if(|word| matches!(*word, "src" | "dst")) {
        found.direction = direction.to_owned();
        if let Some(joined) = words.next_if(|word| matches!(*word, "or" | "and")) {
            words.next()?;
            found.direction = format!("src {joined} dst");
        }
    }
    if let Some(kind) = words.next_if(|word| matches!(*word, "host" | "net" | "port" | "portrange")) {
        found.kind = kind.to_owned();
    }
    let value = words.next();
    words.next().is_none().then_some((found, value))
}

impl Keywords {
    /// The test for `value`; `None` if the value does not fit the keywords.
    fn test(&self, value: &str) -> Option<Test> {
        let (values, range) = match self.kind.as_str() {
            "port" => (Values::Ports, number(value).map(|port| (port, port))?),
            "portrange" => {
                let (first, last) = value.split_once('-')?;
                (Values::Ports, (number(first)?, number(last)?))
            }
            "net" => network(value)?,
            // Without a keyword an address is that of a host.
            _ => address(value)?,
        };
        let named = |text: &str| if text.is_empty() { String::new() } else { format!("{text} ") };
        // `src or dst` has the same meaning as no direction.
        let direction = if self.direction == "src or dst" { "" } else { self.direction.as_str() };
        let qualifiers = format!("{}{}", named(&self.protocol), named(direction));
        let text = format!("{qualifiers}{}{value}", named(&self.kind));
        (range.0 <= range.1).then_some(Test { subject: Subject { qualifiers, values }, range, text })
    }
}

/// A port in decimal. libpcap reads numbers that begin with a zero as octal or hexadecimal ones.
fn number(text: &str) -> Option<u128> {
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if decimal { text.parse::<u16>().ok().map(u128::from) } else { None }
}

/// An address, as a range of one value.
fn address(text: &str) -> Option<(Values, (u128, u128))> {
    let ipv4 = || text.parse().ok().map(|address: Ipv4Addr| (Values::Ipv4, u128::from(address.to_bits())));
    let ipv6 = || text.parse().ok().map(|address: Ipv6Addr| (Values::Ipv6, address.to_bits()));
    ipv4().or_else(ipv6).map(|(values, address)| (values, (address, address)))
}

/// A network, `ADDRESS/LENGTH`. libpcap refuses an address with bits after the prefix.
fn network(text: &str) -> Option<(Values, (u128, u128))> {
    let (prefix, len) = text.split_once('/')?;
    let (values, (first, _)) = address(prefix)?;
    let len = u32::try_from(number(len)?).ok().filter(|len| *len <= values.bits())?;
    let host = 1_u128.checked_shl(values.bits() - len).map_or(u128::MAX, |size| size - 1);
    (first & host == 0).then_some((values, (first, first | host)))
}
