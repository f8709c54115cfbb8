//! The network's own terms, used by both halves of the program: the ends of a conversation, its community id, the realm it lies in, a
//! counted flow, what capture need not copy. Uses nothing but time.

mod community_id;
pub mod flow_key;
mod peers;
mod realm;
mod record;
mod transport;
mod verdict;

pub use community_id::CommunityId;
pub use flow_key::{MacPair, Parts, StoredKey};
pub use peers::{Direction, Peers};
pub use realm::{Realm, TunnelKey, Vlans};
pub use record::{Count, FlowRecord, LastIcmp};
pub use transport::Transport;
pub use verdict::{FlowKey, Verdict};
