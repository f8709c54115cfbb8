//! Assigns a publisher id to each configured protocol. When the configuration is read again, protocols keep the ids that they already have.

use crate::{config::Node, publish::PublisherId};

/// The publisher ids that were assigned since the start of the program.
#[derive(Clone, Default)]
pub(super) struct Ids {
    /// Name and settings of each configured protocol that was ever assigned an id, in the order of the ids. The first entry has the id that
    /// follows [`PublisherId::FLOWS`].
    known: Vec<(&'static str, Node)>,
}

impl Ids {
    /// Assigns an id to each configured protocol in `entries` (name and settings), and returns the ids in the order of `entries`. A
    /// protocol gets the id of an earlier protocol with the same name and the same settings. If there is no such protocol, it gets an id
    /// that an earlier protocol with the same name had and that no other entry has taken, so that the number of ids does not grow each time
    /// settings change. If there is no such id either, it gets a new id.
    pub fn assign(&mut self, entries: &[(&'static str, Node)]) -> Vec<PublisherId> {
        let mut taken = vec![false; self.known.len()];
        let mut ids: Vec<Option<usize>> = vec![None; entries.len()];
        for same_settings in [true, false] {
            for (id, (name, settings)) in ids.iter_mut().zip(entries).filter(|(id, _)| id.is_none()) {
                let fits = |(before, old): &(&str, Node)| before == name && (!same_settings || old.has_same_content(settings));
                if let Some(place) = (0..self.known.len()).find(|&place| !taken[place] && fits(&self.known[place])) {
                    taken[place] = true;
                    self.known[place].1 = settings.clone();
                    *id = Some(place);
                }
            }
        }
        let mut given = Vec::with_capacity(entries.len());
        for (id, entry) in ids.into_iter().zip(entries) {
            let place = id.unwrap_or_else(|| {
                self.known.push(entry.clone());
                self.known.len() - 1
            });
            given.push(PublisherId(PublisherId::FLOWS.0 + 1 + place as u32)); // bounded by the size of a configuration
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_ids() {
        let entry = |name: &'static str, yaml: &str| (name, Node::parse(yaml).unwrap());
        let mut ids = Ids::default();
        let mut assign = |entries: &[(&'static str, Node)]| ids.assign(entries).iter().map(|id| id.0).collect::<Vec<_>>();
        let (a, b) = (entry("http", "{ports: [80]}"), entry("http", "{ports: [8080], tags: [x]}"));
        assert_eq!(assign(&[a.clone(), entry("dns", "{}"), b.clone()]), [1, 2, 3]);
        // An entry keeps its id when the order of the entries changes and when other entries are removed.
        assert_eq!(assign(&[b.clone(), a.clone()]), [3, 1]);
        // An entry whose settings changed gets an id that its protocol had before and that no unchanged entry uses.
        assert_eq!(assign(&[entry("http", "{ports: [81]}"), b.clone()]), [1, 3]);
        // A new entry gets a free id of its protocol, never one of another protocol.
        assert_eq!(assign(std::slice::from_ref(&b)), [3]);
        assert_eq!(assign(&[b, entry("http", "{ports: [82]}"), entry("redis", "{}"), entry("http", "{ports: [83]}")]), [3, 1, 4, 5]);
    }
}
