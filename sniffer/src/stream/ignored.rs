//! Warnings about TCP segments that are ignored. Every ignored segment is counted; the first one of each kind is also
//! logged, with its connection and a remedy. `acceptance` decides which segments are ignored.

use super::acceptance::Reason;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// Which warnings were logged. The workers of an interface share it, so that each kind is logged once.
#[derive(Clone, Debug, Default)]
pub struct Warned(Arc<AtomicU32>);

impl Warned {
    /// Whether this is the first segment that is ignored for this reason.
    fn is_first(&self, reason: Reason) -> bool {
        let bit = 1 << reason as u32;
        self.0.load(Ordering::Relaxed) & bit == 0 && self.0.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// Logs a warning about a segment, if it is the first that is ignored for this reason.
    pub(super) fn warn_once(&self, reason: Reason, from: SocketAddr, to: SocketAddr) {
        if self.is_first(reason) {
            log::warn!("{}", text(reason, from, to));
        }
    }

    /// Number of kinds that were logged.
    #[cfg(test)]
    pub fn kinds(&self) -> u32 {
        self.0.load(Ordering::Relaxed).count_ones()
    }
}

/// The metric name of the counter of segments that are ignored for this reason.
pub(super) fn counter(reason: Reason) -> &'static str {
    match reason {
        Reason::Reset => "tcp.ignored_resets",
        Reason::Syn => "tcp.ignored_syns",
        Reason::Fin => "tcp.ignored_fins",
        Reason::WithoutAck => "tcp.without_ack",
        Reason::Acknowledgement => "tcp.bad_ack",
        Reason::OutOfWindow => "tcp.out_of_window",
    }
}

fn text(reason: Reason, from: SocketAddr, to: SocketAddr) -> String {
    let (what, cause) = match reason {
        Reason::Reset => ("a reset whose sequence number is not the next one of its direction", LOSS),
        Reason::Syn => ("a SYN on a connection that is open and in use", "An end may have lost the connection and opens it again"),
        Reason::Fin => ("a FIN that is not at the end of the data", LOSS),
        Reason::WithoutAck => {
            ("a segment without ACK after the handshake", "No TCP implementation sends such segments, but a broken middlebox may")
        }
        Reason::Acknowledgement => ("a segment whose acknowledgement does not fit what the other end has sent", LOSS),
        Reason::OutOfWindow => ("a segment whose sequence number is outside the window of the receiver", LOSS),
    };
    format!(
        "{from} to {to}: {what} is ignored, and the connection goes on without it. {cause}; otherwise the segment is forged: find its \
         sender. Further ones are only counted ({})",
        counter(reason)
    )
}

/// The cause of segments that look wrong because other segments before them were not captured.
const LOSS: &str = "The capture may have lost segments before it: if capture.lost grows too, raise packetbeat.interfaces.buffer_size_mb";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_logged_once_with_its_own_text() {
        use Reason::*;
        let (warned, from, to) = (Warned::default(), ([10, 0, 0, 1], 40000).into(), ([10, 0, 0, 2], 80).into());
        let mut texts = Vec::new();
        for (n, reason) in (1..).zip([Reset, Syn, Fin, WithoutAck, Acknowledgement, OutOfWindow]) {
            assert!(warned.is_first(reason) && !warned.clone().is_first(reason), "{reason:?}");
            assert_eq!(warned.kinds(), n);
            let text = text(reason, from, to);
            assert!(text.starts_with("10.0.0.1:40000 to 10.0.0.2:80: a ") && text.ends_with(&format!("({})", counter(reason))), "{text}");
            texts.push(text);
        }
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 6);
    }
}
