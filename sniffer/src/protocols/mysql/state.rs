//! How far a connection is: three state machines that each packet moves on. Pure.

use super::wire::{self, Header};
use crate::time::Timestamp;

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing of it was understood yet.
    Unknown,
    /// The same, and the server was heard: its greeting can no longer come.
    Joined,
    /// The server greeted with these capabilities, or the client answered a greeting that was not seen.
    Login { offered: Option<u64> },
    /// Commands and answers.
    Commands,
}

impl Phase {
    /// Whether nothing was understood yet.
    pub fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown | Self::Joined)
    }
}

/// What the next byte of a direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Not known.
    Lost,
    /// The first of a packet.
    Packet,
    /// The first of a packet that continues the one before it.
    Continuation,
    /// The first of a packet with a part of a file that the client sends.
    File,
}

impl Position {
    /// What comes after a packet: one of full length is continued by the next.
    pub fn after(header: Header) -> Self {
        if header.len == wire::FULL { Self::Continuation } else { Self::Packet }
    }

    /// What comes after a packet of a file, which an empty one ends.
    pub fn after_file(header: Header) -> Self {
        if header.len > 0 { Self::File } else { Self::Packet }
    }

    /// The server asks for a file. Where the client's packets begin must be known for that.
    pub fn file_wanted(self) -> Self {
        if self == Self::Lost { Self::Lost } else { Self::File }
    }
}

/// Whether the next answer may belong to another command than the next one that is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It does not.
    None,
    /// An answer came at that time that nobody waited for: its command may be seen after it.
    Answered(Timestamp),
    /// Bytes of the client are missing (a gap), and no packet of the server has been seen since the gap.
    CommandMissing,
}

impl Doubt {
    /// Bytes of the client are missing.
    pub fn client_gap(self) -> Self {
        match self {
            Self::Answered(_) => self,
            Self::None | Self::CommandMissing => Self::CommandMissing,
        }
    }

    /// An answer to a command that was seen is whole.
    pub fn paired(self) -> Self {
        match self {
            Self::CommandMissing => Self::None,
            Self::None | Self::Answered(_) => self,
        }
    }

    /// A command that was sent at `time`; `first`: no other waits. Returns the next state, and whether its answer cannot be told.
    pub fn command(self, time: Timestamp, first: bool) -> (Self, bool) {
        match self {
            Self::None => (self, false),
            Self::Answered(answered) => (Self::None, time < answered),
            Self::CommandMissing => (self, first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_nobody_waited_for_belongs_to_an_earlier_command() {
        let (early, late) = (Timestamp(1), Timestamp(9));
        assert_eq!(Doubt::Answered(Timestamp(5)).command(early, true), (Doubt::None, true));
        assert_eq!(Doubt::Answered(Timestamp(5)).command(late, true), (Doubt::None, false));
        assert_eq!(Doubt::None.client_gap().command(late, true), (Doubt::CommandMissing, true));
        assert_eq!(Doubt::None.client_gap().command(late, false), (Doubt::CommandMissing, false));
        assert_eq!((Doubt::CommandMissing.paired(), Doubt::Answered(late).client_gap()), (Doubt::None, Doubt::Answered(late)));
    }

    #[test]
    fn packets_of_full_length_are_continued() {
        let header = |len| Header { len, seq: 0 };
        assert_eq!((Position::after(header(wire::FULL)), Position::after(header(5))), (Position::Continuation, Position::Packet));
        assert_eq!((Position::after_file(header(5)), Position::after_file(header(0))), (Position::File, Position::Packet));
        assert_eq!((Position::Lost.file_wanted(), Position::Packet.file_wanted()), (Position::Lost, Position::File));
    }
}
