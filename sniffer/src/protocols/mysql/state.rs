//! Three state machines of a connection. Each packet advances one or several of them.

use super::wire::{self, Header};
use crate::time::Timestamp;

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing of the connection was parsed yet.
    Unknown,
    /// Nothing was parsed yet, but the server has sent data, so no greeting will follow.
    Joined,
    /// The server sent a greeting with these capabilities, or the client responded to one that was not captured.
    Login { offered: Option<u64> },
    /// Client and server exchange commands and responses.
    Commands,
}

impl Phase {
    /// Whether nothing was parsed yet.
    pub fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown | Self::Joined)
    }
}

/// The meaning of the next byte of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The meaning of the next byte is unknown.
    Lost,
    /// The first byte of a packet.
    Packet,
    /// The first byte of a packet that continues the previous one.
    Continuation,
    /// The first byte of a packet with a part of a file that the client sends.
    File,
}

impl Position {
    /// The state after a packet. A packet of maximum length is continued by the next one.
    pub fn after(header: Header) -> Self {
        if header.len == wire::FULL { Self::Continuation } else { Self::Packet }
    }

    /// The state after a packet of a file. An empty packet ends the file.
    pub fn after_file(header: Header) -> Self {
        if header.len > 0 { Self::File } else { Self::Packet }
    }

    /// The state after the server has requested a file. It stays unknown if the start of the client's packets is unknown.
    pub fn file_wanted(self) -> Self {
        if self == Self::Lost { Self::Lost } else { Self::File }
    }
}

/// Whether it is uncertain that the next response belongs to the next captured command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The next response belongs to the next captured command.
    None,
    /// A response without a command arrived at this time. Its command may be captured after the response.
    Answered(Timestamp),
    /// Bytes of the client are missing (a gap), and no packet of the server was captured since.
    CommandMissing,
}

impl Doubt {
    /// The state after bytes of the client are missing.
    pub fn client_gap(self) -> Self {
        match self {
            Self::Answered(_) => self,
            Self::None | Self::CommandMissing => Self::CommandMissing,
        }
    }

    /// The state after a response to a captured command is complete.
    pub fn paired(self) -> Self {
        match self {
            Self::CommandMissing => Self::None,
            Self::None | Self::Answered(_) => self,
        }
    }

    /// Handles a command that was sent at `time`. `first`: no other command waits. Returns the next state, and
    /// whether it is unknown which response belongs to the command.
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
    fn a_response_without_a_command_belongs_to_an_earlier_command() {
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
