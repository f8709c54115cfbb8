//! Network terms used by both halves of the program (reading the wire, writing documents): the peers of a conversation, community ids,
//! realms, flow records, counts of arrived packets, verdicts and the connections of this process. This module uses only `time`.

mod community_id;
pub mod connecting;
mod ends;
pub mod flow_key;
pub mod own;
mod own_datagrams;
mod peers;
mod realm;
mod record;
mod traffic;
mod transport;
mod verdict;

pub use community_id::CommunityId;
pub use flow_key::{MacPair, Parts, StoredKey};
pub use own::OwnConnections;
pub use peers::{Direction, Peers};
pub use realm::{Realm, TunnelKey, Vlans};
pub use record::{Count, FlowDelta, FlowRecord, LastIcmp};
pub use traffic::{Arrivals, Traffic};
pub use transport::Transport;
pub use verdict::{FlowKey, Shunted, Verdict};
