//! Fuzzes conditions. Input: a condition in YAML, a NUL byte, and an event in JSON.

use sniffer::{
    config::Node,
    event::tree::{Fields, Known, Tree},
    processors::condition::Condition,
};

/// An event of which only some fields are known.
struct Half<'a>(&'a Tree);

impl Fields for Half<'_> {
    fn field(&self, name: &str) -> Known<'_> {
        if name.len().is_multiple_of(2) { Known::Unknown } else { self.0.field(name) }
    }
}

/// Checks that a condition has a result for every event, and that a result with some fields unknown equals the result with all fields
/// known.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (condition, event) = text.split_once('\0').unwrap_or((text, "{}"));
    let Ok(node) = Node::parse(condition) else { return };
    let Ok(condition) = node.read::<Condition>() else { return };
    let Ok(event) = serde_json::from_str::<sniffer::event::tree::Object>(event) else { return };
    let event = Tree::from(event);
    let holds = condition.holds(&event).expect("an event leaves nothing open");
    if let Some(beforehand) = condition.holds(&Half(&event)) {
        assert_eq!(beforehand, holds, "{condition:?}");
    }
}
