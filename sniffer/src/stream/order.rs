//! The order in which connections are evicted: a linked list of places for each [`Class`], each in the order of last use, with the number of
//! its entries and their bytes. Every operation takes constant time. Not here: what a place is, and who is evicted when.

/// What kind of connection it is, for eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Only one side was seen, or no data.
    HalfOpen,
    /// Data was seen, and it holds little.
    Small,
    /// It holds much: see [`Class::LARGE`].
    Large,
    /// Idle, and kept because its parser remembers something.
    Remembered,
    /// Over, and known for a while so that late retransmissions open no new connection.
    Over,
}

impl Class {
    /// Bytes from which a connection is large. Large connections are evicted among themselves, so that a few of them do not evict many small ones.
    pub const LARGE: usize = 64 << 10;
    const COUNT: usize = 5;
}

/// No place.
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

/// See the module.
pub(super) struct Order {
    /// By place; `None` where the place is in no list.
    links: Vec<Option<Link>>,
    lists: [List; Class::COUNT],
}

impl Default for Order {
    fn default() -> Self {
        Self { links: Vec::new(), lists: [List { newest: NONE, oldest: NONE, len: 0, bytes: 0 }; Class::COUNT] }
    }
}

impl Order {
    /// Puts `at`, which is in no list, at the newest end of a list. It holds `bytes`.
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

    /// Takes `at`, which holds `bytes`, out of its list.
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

    /// `at` was used and is of that class now: it moves to the newest end. It held `before` bytes and holds `after`.
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

    /// What `at` holds has changed, and nothing else.
    pub fn resize(&mut self, at: usize, before: usize, after: usize) {
        if let Some(link) = self.links.get(at).copied().flatten() {
            let list = &mut self.lists[link.class as usize];
            list.bytes = (list.bytes + after).saturating_sub(before);
        }
    }

    /// The one of that class that was not used for longest.
    pub fn oldest(&self, class: Class) -> Option<usize> {
        let oldest = self.lists[class as usize].oldest;
        (oldest != NONE).then_some(oldest as usize)
    }

    /// How many are of that class.
    pub fn len(&self, class: Class) -> usize {
        self.lists[class as usize].len
    }

    /// What all of that class hold.
    pub fn bytes(&self, class: Class) -> usize {
        self.lists[class as usize].bytes
    }

    /// Bytes of the lists themselves.
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
