//! Gives configured protocols their publisher ids, the same ones when the configuration is read again.

use crate::{config::Node, publish::PublisherId};

/// The ids given out since the start of the program.
#[derive(Clone, Default)]
pub(super) struct Ids {
    /// Name and settings of each configured protocol that ever had an id; the first has the id after [`PublisherId::FLOWS`].
    known: Vec<(&'static str, Node)>,
}

impl Ids {
    /// Returns the ids of configured protocols (name and settings), in their order. An entry gets the id of an earlier entry with the same
    /// name and the same settings. Otherwise it gets the id of an earlier entry with the same name that no other entry has taken, so that
    /// there are never more ids than entries at one time. Otherwise it gets a new id.
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
        // An entry keeps its id when the order of the entries changes and when others are removed.
        assert_eq!(assign(&[b.clone(), a.clone()]), [3, 1]);
        // An entry whose settings changed gets the id of its protocol that no unchanged entry has.
        assert_eq!(assign(&[entry("http", "{ports: [81]}"), b.clone()]), [1, 3]);
        // A new entry gets a free id of its protocol, never one of another protocol.
        assert_eq!(assign(std::slice::from_ref(&b)), [3]);
        assert_eq!(assign(&[b, entry("http", "{ports: [82]}"), entry("redis", "{}"), entry("http", "{ports: [83]}")]), [3, 1, 4, 5]);
    }
}
