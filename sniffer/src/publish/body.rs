//! The document of a record. The documents of a batch are stored one after the other in one buffer, which their records
//! share. Therefore no document needs an allocation or a copy of its own.

use super::Record;
use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
};

/// A document is copied into a buffer of its own by [`Body::detach`] if its buffer is at least this many times as large.
const MUCH_LARGER: usize = 4;

/// A document, as a range of a buffer. It dereferences to the bytes of the document.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body {
    buffer: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Body {
    /// Makes the document that is in `range` of `buffer`.
    pub(super) fn new(buffer: Arc<Vec<u8>>, range: Range<usize>) -> Self {
        Self { buffer, range }
    }

    /// Copies the document to a buffer of its size if its buffer is much larger. This is for a document that is kept longer than the other
    /// documents of its batch, so that it does not hold their memory.
    pub fn detach(&mut self) {
        if self.buffer.len() / MUCH_LARGER > self.range.len() {
            *self = Self::from(&**self);
        }
    }

    /// Whether `next` begins in the same buffer after the line feed that follows this document.
    fn is_followed_by(&self, next: &Self) -> bool {
        Arc::ptr_eq(&self.buffer, &next.buffer) && next.range.start == self.range.end + 1 && self.buffer.get(self.range.end) == Some(&b'\n')
    }
}

/// Returns the documents of the first records as lines, and their number. As many records are taken as have their documents one after the
/// other in one buffer. `None` if not even the first document is followed by a line feed.
pub fn lines(records: &[Record]) -> Option<(&[u8], usize)> {
    let first = &records.first()?.body;
    let more = records.windows(2).take_while(|pair| matches!(pair, [a, b] if a.body.is_followed_by(&b.body))).count();
    let last = &records.get(more)?.body;
    let text = first.buffer.get(first.range.start..=last.range.end)?;
    (text.last() == Some(&b'\n')).then_some((text, more + 1))
}

impl Deref for Body {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Body {
    fn from(text: Vec<u8>) -> Self {
        let range = 0..text.len();
        Self { buffer: Arc::new(text), range }
    }
}

impl From<&[u8]> for Body {
    fn from(text: &[u8]) -> Self {
        text.to_vec().into()
    }
}

impl<const N: usize> From<[u8; N]> for Body {
    fn from(text: [u8; N]) -> Self {
        text.to_vec().into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes records whose documents are these ranges of `text`.
    fn records<const N: usize>(text: &str, ranges: [Range<usize>; N]) -> [Record; N] {
        let buffer = Arc::new(text.as_bytes().to_vec());
        ranges.map(|range| Record { body: Body::new(buffer.clone(), range), ..Record::default() })
    }

    #[test]
    fn lines_end_where_the_buffer_changes_or_something_lies_between() {
        let text = "one\ntwo\n-\nthree\nfour";
        let of = |records: &[Record]| lines(records).map(|(text, count)| (String::from_utf8(text.to_vec()).unwrap(), count));
        let all = records(text, [0..3, 4..7, 10..15, 16..20]);
        assert_eq!(of(&all), Some(("one\ntwo\n".into(), 2)));
        assert_eq!(of(&all[2..3]), Some(("three\n".into(), 1)));
        assert_eq!(of(&all[3..]), None, "no line feed follows");
        assert_eq!(of(&[all[1].clone(), all[0].clone()]), Some(("two\n".into(), 1)), "another order");
        let [_, other] = records(text, [0..3, 4..7]);
        assert_eq!(of(&[all[0].clone(), other]), Some(("one\n".into(), 1)), "another buffer");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_detached_document_holds_only_itself() {
        let [mut small, mut large] = records(&"x".repeat(1000), [10..20, 0..900]);
        small.body.detach();
        large.body.detach();
        assert_eq!((small.body.buffer.len(), &*small.body), (10, &b"xxxxxxxxxx"[..]));
        assert_eq!((large.body.buffer.len(), large.body.len()), (1000, 900));
    }
}
