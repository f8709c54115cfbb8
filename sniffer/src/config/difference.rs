//! Finds the settings in which two configurations differ.

use super::{Node, node::Held};

/// A setting that two configurations have with different values, or that only one of them has.
#[derive(Debug)]
pub struct Difference {
    /// The dotted key from the root, without the numbers of items of lists.
    pub key: String,
    /// The new value. If the setting was removed, the old one.
    pub node: Node,
}

/// Returns the settings in which `now` differs from `before`, in the order written. The order of keys, and whether a list of one item is
/// written as a list, make no difference. The function marks no key as known.
pub fn differences(before: &Node, now: &Node) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(Some(before), Some(now), &mut found);
    found
}

/// Whether the dotted key `key` is `section`, or the key of a setting in it.
pub fn is_within(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// `None` stands for a setting that is not there.
fn compare(before: Option<&Node>, now: Option<&Node>, found: &mut Vec<Difference>) {
    let (before, now) = (before.filter(|node| !node.is_unset()), now.filter(|node| !node.is_unset()));
    let Some(shown) = now.or(before) else { return };
    if before.zip(now).is_some_and(|(before, now)| before.has_same_content(now)) {
        return;
    }
    let is_list = |node: Option<&Node>| node.is_some_and(Node::is_list);
    let is_map = |node: Option<&Node>| node.is_none_or(Node::is_map);
    if is_list(before) || is_list(now) {
        let (old, new) = (items(before), items(now));
        if old.len() == new.len() && old.iter().chain(&new).all(Node::is_map) {
            return old.iter().zip(&new).for_each(|(old, new)| compare(Some(old), Some(new), found));
        }
    } else if is_map(before) && is_map(now) {
        let keys = |node: Option<&Node>| node.map(Node::keys).unwrap_or_default();
        let (old, new) = (keys(before), keys(now));
        for (name, node) in &new {
            compare(old.iter().find(|(other, _)| other == name).map(|(_, old)| old), Some(node), found);
        }
        for (_, node) in old.iter().filter(|(name, _)| !new.iter().any(|(other, _)| other == name)) {
            compare(Some(node), None, found);
        }
        return;
    }
    // The key of an item of a list contains the item's number.
    let key: Vec<&str> = shown.key().split('.').filter(|part| part.parse::<usize>().is_err()).collect();
    found.push(Difference { key: key.join("."), node: shown.clone() });
}

/// The items of a list. Any other value is a list of one.
fn items(node: Option<&Node>) -> Vec<Node> {
    match node.map(|node| (node, node.structure())) {
        Some((_, Held::List(items))) => items.clone(),
        Some((node, _)) => vec![node.clone()],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ() {
        let before = "{a: {b: 1, c: [x, y]}, d: {e: {f: 1}}, i: [{device: eth0, type: pcap}], empty: ''}";
        for (now, expected) in [
            (before, ""),
            ("{d: {e: {f: 1}}, i: {type: pcap, device: eth0}, a: {c: [x, y], b: 1}}", ""),
            ("{a: {b: 2, c: [x, z]}, d: {e: {f: 1}}, i: [{device: eth0, type: pcap}]}", "a.b a.c"),
            ("{a: {b: 1, c: [x]}, d: {e: {f: 1, g: 2}}, i: [{device: eth1, type: pcap}]}", "a.c d.e.g i.device"),
            ("{a: {b: 1, c: [x, y]}, i: [{device: eth0, type: pcap}, {device: lo}], n: {m: 1}}", "i n.m d.e.f"),
            ("{a: 1, d: {e: {f: {}}}, i: [{device: eth0, type: pcap}]}", "a d.e.f"),
            ("{a: {b: 1, c: [x, y]}, d: {e: {f: 1}}}", "i"),
        ] {
            let found = differences(&Node::parse(before).unwrap(), &Node::parse(now).unwrap());
            let keys: Vec<&str> = found.iter().map(|difference| difference.key.as_str()).collect();
            assert_eq!(keys.join(" "), expected, "{now}");
        }
    }
}
