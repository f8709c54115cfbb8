//! Bounds the work on compressed packets by their captured bytes: a few bytes may decompress to millions of commands.

/// Decompressed bytes that each captured byte allows. zlib cannot compress better than 1,032 to 1; zstd can.
const BYTES: i64 = 1032;
/// Decompressed bytes that are allowed before any byte is captured: one packet of the greatest length.
const MOST_BYTES: i64 = 16 << 20;
/// Number of commands that each captured byte allows. A client that pipelines commands sends several bytes per command.
const COMMANDS: i64 = 1;
/// Commands that are allowed before any byte is captured.
const MOST_COMMANDS: i64 = 1024;

/// The work that one direction of a connection may still cause. Work beyond the allowance is subtracted from the
/// allowance of later bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    bytes: i64,
    commands: i64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { bytes: MOST_BYTES, commands: MOST_COMMANDS }
    }
}

impl Allowance {
    /// Adds the work that a number of captured bytes allows.
    pub fn captured(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes = self.bytes.saturating_add(bytes.saturating_mul(BYTES)).min(MOST_BYTES);
        self.commands = self.commands.saturating_add(bytes.saturating_mul(COMMANDS)).min(MOST_COMMANDS);
    }

    /// Subtracts the work on a piece of the decompressed stream.
    pub fn spend(&mut self, bytes: usize, commands: u32) {
        self.bytes -= bytes as i64;
        self.commands -= i64::from(commands);
    }

    /// Whether more work was done than the captured bytes allow.
    pub fn is_exceeded(self) -> bool {
        self.bytes < 0 || self.commands < 0
    }
}
