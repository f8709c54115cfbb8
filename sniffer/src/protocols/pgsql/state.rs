//! How far a connection is understood: three state machines that each message moves on. Pure.

/// What the client is doing, as far as it decides what the server reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statements.
    Statements,
    /// After an error the server reads nothing before the next Sync.
    SkipToSync,
    /// The client sends the data of a COPY.
    CopyIn,
}

impl Mode {
    /// Whatever the client was doing, it no longer sends the data of a COPY.
    pub fn copy_ended(self) -> Self {
        if self == Self::CopyIn { Self::Statements } else { self }
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The server answers, or nothing is known.
    Server,
    /// The server said that it waits for the client, which has not asked since.
    Client,
    /// The client has asked since.
    Asked,
}

impl Turn {
    /// The client asks. Returns the next state, and whether this is the first since the server waits.
    pub fn asks(self) -> (Self, bool) {
        match self {
            Self::Client => (Self::Asked, true),
            Self::Server | Self::Asked => (self, false),
        }
    }
}

/// Whether it is known which answer belongs to which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// It is: answers come in the order of the requests that wait.
    Certain,
    /// The server is answering something that was not seen.
    Unseen,
    /// It is not known until so many ReadyForQuery have come.
    Lost(u32),
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It waits for its answer.
    Waits,
    /// The pairing is certain again from this request on.
    Recovers,
    /// Its answer could not be told: it does not wait.
    Dropped,
}

impl Pairing {
    /// Whether answers are ignored.
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// The pairing is lost while so many requests are to be answered.
    pub fn lost(self, awaited: u32) -> Self {
        // The answer to something unseen is not over, and what is asked next must not end it.
        Self::Lost(awaited.max(if self == Self::Unseen { 2 } else { 1 }))
    }

    /// An answer came that no request waits for.
    pub fn unseen_answer(self) -> Self {
        if self.is_lost() { self } else { Self::Unseen }
    }

    /// A ReadyForQuery came.
    pub fn ready(self) -> Self {
        match self {
            Self::Certain | Self::Unseen | Self::Lost(0 | 1) => Self::Certain,
            Self::Lost(awaited) => Self::Lost(awaited - 1),
        }
    }

    /// The client asks. `ends`: a ReadyForQuery will answer it; `first`: no other request waits; `quiet`: the server was silent for so
    /// long that nothing sent before is still to be answered.
    pub fn asks(self, ends: bool, first: bool, quiet: bool) -> (Self, Asked) {
        let awaited = match self {
            Self::Certain => return (self, Asked::Waits),
            Self::Unseen if !first || quiet => return (Self::Certain, Asked::Waits),
            Self::Unseen => 2,
            Self::Lost(awaited) => awaited,
        };
        if awaited > 1 && !quiet {
            return (Self::Lost(awaited.saturating_add(u32::from(ends))), Asked::Dropped);
        }
        // Most clients wait for the answer before they ask again, and this one seems to have got it.
        (Self::Certain, Asked::Recovers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_until_all_that_was_asked_is_answered() {
        let lost = Pairing::Certain.lost(2);
        assert_eq!(lost.asks(true, true, false), (Pairing::Lost(3), Asked::Dropped));
        assert_eq!(lost.ready(), Pairing::Lost(1));
        assert_eq!(lost.ready().asks(true, true, false), (Pairing::Certain, Asked::Recovers));
        assert_eq!(lost.ready().ready(), Pairing::Certain);
        assert_eq!(lost.asks(true, true, true), (Pairing::Certain, Asked::Recovers), "after a silence");
    }

    #[test]
    fn the_answer_to_something_unseen_is_not_that_of_the_next_request() {
        let unseen = Pairing::Certain.unseen_answer();
        assert_eq!(unseen.asks(true, true, false), (Pairing::Lost(3), Asked::Dropped));
        assert_eq!(unseen.asks(true, false, false), (Pairing::Certain, Asked::Waits));
        assert_eq!((unseen.ready(), unseen.lost(1)), (Pairing::Certain, Pairing::Lost(2)));
    }

    #[test]
    fn turns() {
        assert_eq!((Turn::Client.asks(), Turn::Asked.asks()), ((Turn::Asked, true), (Turn::Asked, false)));
        assert_eq!((Mode::CopyIn.copy_ended(), Mode::SkipToSync.copy_ended()), (Mode::Statements, Mode::SkipToSync));
    }
}
