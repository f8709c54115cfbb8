//! The kept parts of the column definitions of a result.

use super::{csv, wire::Column};
use crate::protocols::kit::held::Held;

/// Maximum number of bytes of the column names of a result.
const LONGEST_NAMES: usize = 256 << 10;
/// Maximum number of bytes of table names that are kept of a response.
pub const LONGEST_TABLES: usize = 4 << 10;

/// The columns of a result.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// The names of the columns as one line.
    pub names: Vec<u8>,
    /// The tables as `db.table`, each once.
    pub tables: Vec<u8>,
    /// For each column its type, and whether it is unsigned.
    pub kinds: Vec<(u8, bool)>,
    /// The last table, to which the next column most often belongs.
    last: (usize, usize),
}

impl Held for Columns {
    fn held(&self) -> usize {
        self.names.held() + self.tables.held() + self.kinds.held()
    }
}

impl Columns {
    /// Clears the columns, but keeps their memory.
    pub fn clear(&mut self) {
        self.names.clear();
        self.tables.clear();
        self.kinds.clear();
        self.last = (0, 0);
    }

    /// Adds the next column. Its name is kept only if `show` is set.
    pub fn push(&mut self, column: &Column<'_>, show: bool) {
        self.kinds.push((column.kind, column.unsigned));
        if show && self.names.len() < LONGEST_NAMES {
            csv::name(&mut self.names, column.name);
        }
        let is = |text: &[u8]| text.strip_prefix(column.schema).and_then(|t| t.strip_prefix(b".")) == Some(column.table);
        if self.kinds.len() > 1 && self.tables.get(self.last.0..self.last.1).is_some_and(is) || self.tables.len() > LONGEST_TABLES {
            return;
        }
        let mut from = 0;
        for part in self.tables.split(|b| *b == b',').filter(|t| !t.is_empty()) {
            let start = from + usize::from(from > 0);
            if is(self.tables.get(start..from + part.len()).unwrap_or_default()) {
                self.last = (start, from + part.len());
                return;
            }
            from += part.len() + 1;
        }
        if !self.tables.is_empty() {
            self.tables.extend_from_slice(b", ");
        }
        self.last.0 = self.tables.len();
        self.tables.extend_from_slice(column.schema);
        self.tables.push(b'.');
        self.tables.extend_from_slice(column.table);
        self.last.1 = self.tables.len();
    }
}
