//! The incomplete messages of a connection. A message consists of several frames, between which frames of other
//! channels may be.

use super::{
    event::{Message, Request},
    methods::Method,
    wire,
};
use crate::{net::Direction, protocols::kit::held::Held, time::Timestamp};

/// Maximum number of incomplete messages on all channels.
const MOST: usize = 256;
/// Number of messages for which an empty list keeps memory.
const SPARE: usize = 16;
/// Maximum number of bytes kept of all incomplete messages.
const MOST_HELD: usize = 16 << 20;

/// A message of which the method was received, and the content header or a part of the body was not.
pub struct IncompleteMessage {
    pub dir: Direction,
    pub channel: u16,
    pub method: &'static Method,
    pub args: Vec<u8>,
    /// Packet time of the method's first byte.
    pub time: Timestamp,
    /// The basic.get that the message is the response to.
    pub asked: Option<Request<'static>>,
    /// Number of bytes of the body that are needed.
    pub wanted: usize,
    header: Vec<u8>,
    body: Vec<u8>,
    /// The size of the body, known after the header.
    size: Option<u64>,
    seen: u64,
    /// Whether the rest of the body is not kept, because a part of it was lost.
    cut: bool,
}

impl IncompleteMessage {
    /// Makes a message from its method; the content header and the body follow.
    pub fn new(dir: Direction, channel: u16, method: &'static Method, args: &[u8], time: Timestamp, wanted: usize) -> Self {
        let (args, header, body) = (args.to_vec(), vec![], vec![]);
        Self { dir, channel, method, args, time, asked: None, wanted, header, body, size: None, seen: 0, cut: false }
    }

    /// The message in the form in which it is reported.
    pub fn message(&mut self) -> Message<'_> {
        let (method, size, time, asked) = (self.method, self.seen, self.time, self.asked.take());
        Message { method, args: &self.args, header: &self.header, body: &self.body, size, time, asked }
    }
}

impl Held for IncompleteMessage {
    fn held(&self) -> usize {
        self.args.held() + self.header.held() + self.body.held() + self.asked.held()
    }
}

/// The state of a message at the end of a frame.
pub enum MessageState {
    /// The response has no message, or the message is incomplete.
    Incomplete,
    Complete(Box<IncompleteMessage>),
    /// The frames of the message are inconsistent.
    Malformed,
}

/// The incomplete messages of a connection.
#[derive(Default)]
pub struct Messages {
    coming: Vec<IncompleteMessage>,
    /// Bytes held by all incomplete messages.
    bytes: usize,
}

impl Messages {
    fn place(&self, dir: Direction, channel: u16) -> Option<usize> {
        self.coming.iter().position(|c| (c.dir, c.channel) == (dir, channel))
    }

    fn get(&mut self, dir: Direction, channel: u16) -> Option<&mut IncompleteMessage> {
        let place = self.place(dir, channel)?;
        self.coming.get_mut(place)
    }

    fn remove(&mut self, place: usize) -> IncompleteMessage {
        let coming = self.coming.swap_remove(place);
        self.bytes = self.bytes.saturating_sub(coming.held());
        self.shrink();
        coming
    }

    fn shrink(&mut self) {
        if self.coming.is_empty() && self.coming.capacity() > SPARE {
            self.coming.shrink_to(SPARE);
        }
    }

    /// Number of allocated bytes.
    pub fn held(&self) -> usize {
        self.coming.capacity() * size_of::<IncompleteMessage>() + self.bytes
    }

    /// Adds a message whose method was received. Returns the number of messages that were dropped: an incomplete one
    /// of the same channel, or the new message itself if there is no room.
    pub fn begin(&mut self, coming: IncompleteMessage) -> usize {
        let mut gone = self.drop_if(|c| (c.dir, c.channel) == (coming.dir, coming.channel));
        if self.coming.len() >= MOST || self.bytes + coming.held() > MOST_HELD {
            gone += 1;
        } else {
            self.bytes += coming.held();
            self.coming.push(coming);
        }
        gone
    }

    /// Handles a content header.
    pub fn header(&mut self, dir: Direction, channel: u16, payload: &[u8]) -> MessageState {
        let Some(place) = self.place(dir, channel) else { return MessageState::Incomplete };
        let coming = &mut self.coming[place];
        let fits = coming.size.is_none() && self.bytes + payload.len() <= MOST_HELD;
        let Some(size) = wire::body_size(payload).filter(|_| fits) else {
            self.remove(place);
            return MessageState::Malformed;
        };
        coming.header = payload.to_vec();
        coming.size = Some(size);
        self.bytes += payload.len();
        if size == 0 { self.end(dir, channel) } else { MessageState::Incomplete }
    }

    /// Handles `data` of a body frame that has `left` bytes before its end. Returns whether the remaining bytes are
    /// needed.
    pub fn body(&mut self, dir: Direction, channel: u16, left: u64, data: &[u8]) -> bool {
        let free = MOST_HELD.saturating_sub(self.bytes);
        let Some(coming) = self.get(dir, channel) else { return false };
        let before = coming.body.held();
        if !coming.cut {
            let room = coming.wanted.saturating_sub(coming.body.len()).min(free);
            let kept = room.min(data.len());
            coming.body.extend_from_slice(&data[..kept]);
            coming.cut = room <= data.len();
        }
        coming.seen = coming.seen.saturating_add(if coming.cut { left } else { data.len() as u64 });
        let (wanted, more) = (!coming.cut, coming.body.held() - before);
        self.bytes += more;
        wanted
    }

    /// Handles a gap of `lost` bytes in a body: the kept text ends there.
    pub fn lose(&mut self, dir: Direction, channel: u16, lost: u64) {
        if let Some(coming) = self.get(dir, channel) {
            coming.seen = coming.seen.saturating_add(lost);
            coming.cut = true;
        }
    }

    /// Handles the end of a frame of this channel.
    pub fn end(&mut self, dir: Direction, channel: u16) -> MessageState {
        let Some(place) = self.place(dir, channel) else { return MessageState::Incomplete };
        let coming = &self.coming[place];
        match coming.size {
            Some(size) if coming.seen < size => MessageState::Incomplete,
            Some(size) if coming.seen == size => MessageState::Complete(Box::new(self.remove(place))),
            _ => {
                self.remove(place);
                MessageState::Malformed
            }
        }
    }

    /// Drops the messages for which `which` is true. Returns their number.
    pub fn drop_if(&mut self, which: impl Fn(&IncompleteMessage) -> bool) -> usize {
        let before = self.coming.len();
        let bytes = &mut self.bytes;
        self.coming.retain(|coming| {
            let gone = which(coming);
            if gone {
                *bytes = bytes.saturating_sub(coming.held());
            }
            !gone
        });
        self.shrink();
        before - self.coming.len()
    }

    /// Swaps client and server.
    pub fn swap_sides(&mut self) {
        self.coming.iter_mut().for_each(|c| c.dir = c.dir.reverse());
    }
}
