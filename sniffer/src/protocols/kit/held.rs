//! Counts the bytes that a value owns on the heap. Parsers add these numbers up for
//! [`crate::protocols::StreamParser::held`].

use smallvec::{Array, SmallVec};
use std::sync::Arc;

/// Capacity in bytes that a buffer keeps for the next message. There may be very many connections, and the memory of
/// one large message must not be held for the rest of a long connection.
const SPARE: usize = 64 << 10;

/// Clears a buffer for reuse.
pub fn clear(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(SPARE);
}

/// Clears a string for reuse.
pub fn clear_text(text: &mut String) {
    text.clear();
    text.shrink_to(SPARE);
}

/// A value that reports how much memory it has allocated.
pub trait Held {
    /// Bytes that the value owns on the heap: the capacity of its buffers and not their length. Its owner counts the value's own `size_of`.
    /// The method must take constant time, so a `Vec` whose elements own memory needs a sum that is kept up to date (see
    /// [`super::backlog::Backlog`]).
    ///
    /// Memory that several values share is counted by each of them, so the sum may be too large but never too small.
    fn held(&self) -> usize;
}

/// The elements own nothing on the heap, so only the capacity of the vector counts.
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
