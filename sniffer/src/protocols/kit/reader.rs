//! Reads integers and byte strings from the front of a slice. `None` means that the slice is too short; nothing is
//! consumed then.

/// A cursor over borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

macro_rules! integers {
    ($($be:ident $le:ident $type:ty),*) => {$(
        #[doc = concat!("A big-endian `", stringify!($type), "`.")]
        pub fn $be(&mut self) -> Option<$type> {
            self.array().map(<$type>::from_be_bytes)
        }
        #[doc = concat!("A little-endian `", stringify!($type), "`.")]
        pub fn $le(&mut self) -> Option<$type> {
            self.array().map(<$type>::from_le_bytes)
        }
    )*};
}

impl<'a> Reader<'a> {
    /// Makes a reader at the first byte of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Number of bytes consumed.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Number of bytes left.
    pub fn remaining(&self) -> usize {
        self.data.len() - self.at
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The remaining bytes, without consuming them.
    pub fn rest(&self) -> &'a [u8] {
        &self.data[self.at..]
    }

    /// Consumes the next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.rest().get(..n)?;
        self.at += n;
        Some(taken)
    }

    /// Skips `n` bytes.
    pub fn skip(&mut self, n: usize) -> Option<()> {
        self.take(n).map(|_| ())
    }

    /// Consumes the next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    /// The next byte, without consuming it.
    pub fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Consumes the next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.rest().first_chunk::<N>()?;
        self.at += N;
        Some(*bytes)
    }

    integers!(u16 u16_le u16, u32 u32_le u32, u64 u64_le u64, i16 i16_le i16, i32 i32_le i32, i64 i64_le i64);

    /// Consumes a big-endian integer of three bytes.
    pub fn u24(&mut self) -> Option<u32> {
        self.array::<3>().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Consumes a little-endian integer of three bytes.
    pub fn u24_le(&mut self) -> Option<u32> {
        self.array::<3>().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    /// Consumes the bytes up to and including the next `end`, and returns them without `end`.
    pub fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let n = memchr::memchr(end, self.rest())?;
        let taken = self.take(n)?;
        self.at += 1;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_consumed_from_a_slice_that_is_too_short() {
        let mut r = Reader::new(&[1, 2, 3]);
        assert_eq!(r.u32(), None);
        assert_eq!(r.u16(), Some(0x0102));
        assert_eq!(r.u16_le(), None);
        assert_eq!(r.take(usize::MAX), None);
        assert_eq!((r.position(), r.rest()), (2, &[3u8][..]));
        assert_eq!(r.until(0), None);
        assert_eq!(r.until(3), Some(&[][..]));
        assert!(r.is_empty());
    }
}
