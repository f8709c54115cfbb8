//! Parts of the tree of a configuration: all its values, and the tree without some of them.

use super::node::{Held, Node};

impl Node {
    /// All values below this node, at every depth. Values that are not read keep counting as unknown.
    pub fn below(&self) -> Vec<Self> {
        let mut below = Vec::new();
        self.collect_below(&mut below);
        below
    }

    fn collect_below(&self, below: &mut Vec<Self>) {
        for child in self.children() {
            below.push(child.clone());
            child.collect_below(below);
        }
    }

    fn children(&self) -> Vec<Self> {
        match self.structure() {
            Held::Map(entries) => entries.iter().map(|(_, node)| node.clone()).collect(),
            Held::List(items) => items.clone(),
            _ => Vec::new(),
        }
    }

    /// This tree without the values that `keep` refuses. The others keep their keys and places.
    #[must_use]
    pub fn filtered(&self, keep: &dyn Fn(&Self) -> bool) -> Self {
        let change = |node: &Self| keep(node).then(|| node.filtered(keep));
        match self.structure() {
            Held::Map(entries) => {
                self.with_value(Held::Map(entries.iter().filter_map(|(name, node)| Some((name.clone(), change(node)?))).collect()))
            }
            Held::List(items) => self.with_value(Held::List(items.iter().filter_map(change).collect())),
            _ => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out_and_the_others_keep_their_places() {
        let node = Node::parse("a: {b: 1, c: [2, 3]}\nd: 4\n").unwrap();
        let keys = |node: &Node| node.below().iter().map(|node| node.key().to_owned()).collect::<Vec<_>>();
        assert_eq!(keys(&node), ["a", "a.b", "a.c", "a.c.0", "a.c.1", "d"]);
        let rest = node.filtered(&|node| node.key() != "a.b" && node.key() != "a.c.0");
        assert_eq!(keys(&rest), ["a", "a.c", "a.c.1", "d"]);
        assert_eq!(rest.get("d").error("wrong").0, "line 2: d: wrong");
        assert!(rest.get("a.b").is_null());
    }
}
