//! The order in which connections are evicted: a linked list of table indices for each [`Class`], ordered by last use,
//! with the number of entries and their bytes. Every operation takes constant time. `engine` decides how many bytes are
//! evicted.

/// The class of a connection for eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Only packets of one side were captured, or no data was captured.
    HalfOpen,
    /// Data was captured, and the connection holds few bytes.
    Small,
    /// The connection holds many bytes: see [`Class::LARGE`].
    Large,
    /// An idle connection, kept because its parser has state.
    Remembered,
    /// The connection has ended. It is kept for a while so that late retransmissions do not open a new connection.
    Ended,
}

impl Class {
    /// Number of held bytes from which a connection is large. Large connections are in a class of their own, so that a
    /// few of them do not cause many small ones to be evicted.
    pub const LARGE: usize = 64 << 10;
    const COUNT: usize = 5;
}

/// The index that marks the end of a list.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    class: Class,
    newer: u32,
    older: u32,
}

#[derive(Clone, Copy)]
struct List {
    newest: u32,
    oldest: u32,
    len: usize,
    bytes: usize,
}

/// The order in which connections are evicted.
pub(super) struct Order {
    /// One entry per table index; `None` if the index is in no list.
    links: Vec<Option<Link>>,
    lists: [List; Class::COUNT],
}

impl Default for Order {
    fn default() -> Self {
        Self { links: Vec::new(), lists: [List { newest: NONE, oldest: NONE, len: 0, bytes: 0 }; Class::COUNT] }
    }
}

impl Order {
    /// Appends the connection `at`, which is in no list, to a list as the newest entry. `bytes`: the bytes that the
    /// connection holds.
    pub fn insert(&mut self, at: usize, class: Class, bytes: usize) {
        let Ok(place) = u32::try_from(at) else { return };
        if self.links.len() <= at {
            self.links.resize(at + 1, None);
        }
        let list = &mut self.lists[class as usize];
        let older = std::mem::replace(&mut list.newest, place);
        list.len += 1;
        list.bytes += bytes;
        if older == NONE {
            list.oldest = place;
        }
        self.links[at] = Some(Link { class, newer: NONE, older });
        if let Some(link) = self.link(older) {
            link.newer = place;
        }
    }

    /// Removes the connection `at`, which holds `bytes`, from its list.
    pub fn remove(&mut self, at: usize, bytes: usize) {
        let Some(link) = self.links.get_mut(at).and_then(Option::take) else { return };
        let list = &mut self.lists[link.class as usize];
        list.len -= 1;
        list.bytes = list.bytes.saturating_sub(bytes);
        if link.newer == NONE {
            list.newest = link.older;
        }
        if link.older == NONE {
            list.oldest = link.newer;
        }
        if let Some(newer) = self.link(link.newer) {
            newer.older = link.older;
        }
        if let Some(older) = self.link(link.older) {
            older.newer = link.newer;
        }
    }

    /// Moves the connection `at` to the newest end of the list of `class`, after a use. The connection held `before`
    /// bytes and now holds `after`.
    #[inline]
    pub fn touch(&mut self, at: usize, class: Class, before: usize, after: usize) {
        let list = &mut self.lists[class as usize];
        if list.newest as usize == at {
            list.bytes = (list.bytes + after).saturating_sub(before);
        } else {
            self.remove(at, before);
            self.insert(at, class, after);
        }
    }

    /// Updates the bytes of the connection `at` without moving it.
    pub fn resize(&mut self, at: usize, before: usize, after: usize) {
        if let Some(link) = self.links.get(at).copied().flatten() {
            let list = &mut self.lists[link.class as usize];
            list.bytes = (list.bytes + after).saturating_sub(before);
        }
    }

    /// The entry of a class that has not been used for the longest time.
    pub fn oldest(&self, class: Class) -> Option<usize> {
        let oldest = self.lists[class as usize].oldest;
        (oldest != NONE).then_some(oldest as usize)
    }

    /// Number of entries of a class.
    pub fn len(&self, class: Class) -> usize {
        self.lists[class as usize].len
    }

    /// Bytes held by all entries of a class.
    pub fn bytes(&self, class: Class) -> usize {
        self.lists[class as usize].bytes
    }

    /// Bytes of the lists.
    pub fn held(&self) -> usize {
        self.links.capacity() * size_of::<Option<Link>>()
    }

    fn link(&mut self, place: u32) -> Option<&mut Link> {
        self.links.get_mut(place as usize)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_is_in_the_order_of_last_use() {
        let mut order = Order::default();
        for at in 0..4 {
            order.insert(at, Class::Small, 10);
        }
        order.touch(0, Class::Small, 10, 15);
        order.touch(2, Class::Large, 10, 100);
        order.resize(3, 10, 11);
        assert_eq!([Class::Small, Class::Large].map(|c| (order.len(c), order.bytes(c))), [(3, 36), (1, 100)]);
        let mut out = vec![];
        while let Some(at) = order.oldest(Class::Small) {
            order.remove(at, if at == 0 { 15 } else { 10 + usize::from(at == 3) });
            out.push(at);
        }
        assert_eq!((out, order.oldest(Class::Large)), (vec![1, 3, 0], Some(2)));
        assert_eq!((order.len(Class::Small), order.bytes(Class::Small)), (0, 0));
        order.insert(1, Class::Large, 1);
        order.remove(2, 100);
        assert_eq!((order.oldest(Class::Large), order.bytes(Class::Large)), (Some(1), 1));
        order.remove(7, 1);
    }
}
