//! The fields of this protocol's documents, in addition to those of every transaction ([`crate::event::TRANSACTION`]).

use crate::event::{
    Field,
    Kind::{Keyword, Long},
};

pub(super) const FIELDS: &[Field] = &[
    Field::new("nfs.version", Long),
    Field::new("nfs.minor_version", Long),
    Field::new("nfs.tag", Keyword),
    Field::new("nfs.opcode", Keyword),
    Field::new("nfs.status", Keyword),
    Field::new("rpc.xid", Keyword),
    Field::new("rpc.status", Keyword),
    Field::new("rpc.auth_flavor", Keyword),
    Field::new("rpc.cred.machinename", Keyword),
    Field::new("rpc.cred.uid", Long),
    Field::new("rpc.cred.gid", Long),
    Field::new("rpc.cred.gids", Long),
    Field::new("rpc.cred.stamp", Long),
    Field::reserved("rpc.call_size", Long),
    Field::reserved("rpc.reply_size", Long),
    Field::reserved("rpc.time_str", Keyword),
    Field::new("host.hostname", Keyword),
    Field::new("user.id", Keyword),
    Field::new("group.id", Keyword),
];
