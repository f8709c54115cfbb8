//! How many bytes a value owns on the heap. Parsers add these numbers up for [`crate::protocols::StreamParser::held`].

use smallvec::{Array, SmallVec};
use std::sync::Arc;

/// Memory that a buffer keeps for the next message. There may be very many connections, and one large message must not cost its memory for the rest of a
/// long one.
const SPARE: usize = 64 << 10;

/// Clears a buffer that is used again.
pub fn clear(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(SPARE);
}

/// Clears a text that is used again.
pub fn clear_text(text: &mut String) {
    text.clear();
    text.shrink_to(SPARE);
}

/// A value that can tell how much memory it keeps allocated.
pub trait Held {
    /// Bytes that the value owns on the heap: capacity, not length. Its own `size_of` belongs to whoever contains it. Takes constant
    /// time, so elements of a `Vec` that own memory themselves need a sum that is kept up to date (see [`super::backlog::Backlog`]).
    ///
    /// Memory that several values share is counted by each of them: the sum may be too large, never too small.
    fn held(&self) -> usize;
}

/// Elements that own nothing on the heap.
impl<T: Copy> Held for Vec<T> {
    fn held(&self) -> usize {
        self.capacity() * size_of::<T>()
    }
}

impl<A: Array> Held for SmallVec<A>
where
    A::Item: Copy,
{
    fn held(&self) -> usize {
        if self.spilled() { self.capacity() * size_of::<A::Item>() } else { 0 }
    }
}

impl Held for String {
    fn held(&self) -> usize {
        self.capacity()
    }
}

impl<T: Copy> Held for Box<[T]> {
    fn held(&self) -> usize {
        size_of_val::<[T]>(self)
    }
}

impl Held for Arc<[u8]> {
    fn held(&self) -> usize {
        self.len()
    }
}

impl<T: Held> Held for Box<T> {
    fn held(&self) -> usize {
        size_of::<T>() + T::held(self)
    }
}

impl<T: Held> Held for Option<T> {
    fn held(&self) -> usize {
        self.as_ref().map_or(0, T::held)
    }
}

impl<T: Held, const N: usize> Held for [T; N] {
    fn held(&self) -> usize {
        self.iter().map(T::held).sum()
    }
}

impl Held for () {
    fn held(&self) -> usize {
        0
    }
}
