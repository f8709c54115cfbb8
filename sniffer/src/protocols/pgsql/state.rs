//! Three state machines of a connection. Each message advances one or several of them.

/// The client's state, as far as the parser of the server's messages needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The client sends statements.
    Statements,
    /// After an error, the server ignores everything before the next Sync.
    SkipToSync,
    /// The client sends the data of a COPY.
    CopyIn,
}

impl Mode {
    /// The state after the client has stopped sending the data of a COPY.
    pub fn copy_ended(self) -> Self {
        if self == Self::CopyIn { Self::Statements } else { self }
    }
}

/// Which side is expected to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The server is responding, or nothing is known.
    Server,
    /// The server waits for the client, which has not sent a request since.
    Client,
    /// The client has sent a request since.
    Asked,
}

impl Turn {
    /// Handles a request of the client. Returns the next state, and whether this is the first request since the
    /// server waits.
    pub fn asks(self) -> (Self, bool) {
        match self {
            Self::Client => (Self::Asked, true),
            Self::Server | Self::Asked => (self, false),
        }
    }
}

/// Whether the pairing of responses with requests is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// The pairing is known: responses come in the order of the waiting requests.
    Certain,
    /// The server is responding to a request that was not captured.
    Unseen,
    /// The pairing is unknown until this number of ReadyForQuery messages has arrived.
    Lost(u32),
}

/// The effect of a request on the pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The request waits for its response.
    Waits,
    /// The pairing is certain again from this request on.
    Recovers,
    /// The request does not wait, because its response could not be paired with it.
    Dropped,
}

impl Pairing {
    /// Whether the pairing is unknown, so that responses are ignored.
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// The state after the pairing is lost, with this number of requests still unanswered.
    pub fn lost(self, awaited: u32) -> Self {
        // A request that was not captured is still being answered: its ReadyForQuery comes in addition to that of at least one later
        // request.
        Self::Lost(awaited.max(if self == Self::Unseen { 2 } else { 1 }))
    }

    /// The state after a response for which no request waits.
    pub fn unseen_answer(self) -> Self {
        if self.is_lost() { self } else { Self::Unseen }
    }

    /// The state after a ReadyForQuery.
    pub fn ready(self) -> Self {
        match self {
            Self::Certain | Self::Unseen | Self::Lost(0 | 1) => Self::Certain,
            Self::Lost(awaited) => Self::Lost(awaited - 1),
        }
    }

    /// Handles a request of the client. `ends`: its response ends with a ReadyForQuery; `first`: no other request
    /// waits; `quiet`: the server was silent for so long that earlier requests will not be answered.
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
        // Most clients wait for the response before they send the next request. The client has sent this request, so it has
        // probably received the response that is missing here.
        (Self::Certain, Asked::Recovers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairing_is_lost_until_all_requests_are_answered() {
        let lost = Pairing::Certain.lost(2);
        assert_eq!(lost.asks(true, true, false), (Pairing::Lost(3), Asked::Dropped));
        assert_eq!(lost.ready(), Pairing::Lost(1));
        assert_eq!(lost.ready().asks(true, true, false), (Pairing::Certain, Asked::Recovers));
        assert_eq!(lost.ready().ready(), Pairing::Certain);
        assert_eq!(lost.asks(true, true, true), (Pairing::Certain, Asked::Recovers), "after a silence");
    }

    #[test]
    fn a_response_to_an_uncaptured_request_is_not_paired_with_the_next() {
        let unseen = Pairing::Certain.unseen_answer();
        assert_eq!(unseen.asks(true, true, false), (Pairing::Lost(3), Asked::Dropped));
        assert_eq!(unseen.asks(true, false, false), (Pairing::Certain, Asked::Waits));
        assert_eq!((unseen.ready(), unseen.lost(1)), (Pairing::Certain, Pairing::Lost(2)));
    }

    #[test]
    fn which_side_is_expected_to_send() {
        assert_eq!((Turn::Client.asks(), Turn::Asked.asks()), ((Turn::Asked, true), (Turn::Asked, false)));
        assert_eq!((Mode::CopyIn.copy_ended(), Mode::SkipToSync.copy_ended()), (Mode::Statements, Mode::SkipToSync));
    }
}
