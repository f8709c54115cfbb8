//! Names of the commands that are recognised in OP_QUERY. OP_MSG needs no such list, because its first key is the
//! command.

/// Whether `name` is a command, ignoring case.
pub fn is_command(name: &str) -> bool {
    COMMANDS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The commands that Packetbeat recognises.
#[rustfmt::skip]
const COMMANDS: &[&str] = &[
    "_getUserCacheGeneration", "_isSelf", "_mergeAuthzCollections", "_migrateClone", "_recvChunkAbort", "_recvChunkCommit",
    "_recvChunkStart", "_recvChunkStatus", "_transferMods", "aggregate", "appendOplogNote", "applyOps", "authenticate",
    "authSchemaUpgrade", "availableQueryOptions", "buildInfo", "checkShardingIndex", "cleanupOrphaned", "clone", "cloneCollection",
    "cloneCollectionAsCapped", "collMod", "collStats", "compact", "connectionStatus", "connPoolStats", "connPoolSync", "convertToCapped",
    "copydb", "copydbgetnonce", "copydbsaslstart", "count", "create", "createIndexes", "createRole", "createUser", "currentOpCtx",
    "cursorInfo", "dataSize", "dbHash", "dbStats", "delete", "diagLogging", "distinct", "driverOIDTest", "drop",
    "dropAllRolesFromDatabase", "dropAllUsersFromDatabase", "dropDatabase", "dropIndexes", "dropRole", "dropUser", "eval", "explain",
    "filemd5", "find", "findAndModify", "forceerror", "fsync", "geoNear", "geoSearch", "getCmdLineOpts", "getLastError", "getLog",
    "getnonce", "getParameter", "getPrevError", "getShardMap", "getShardVersion", "grantPrivilegesToRole", "grantRolesToRole",
    "grantRolesToUser", "group", "handshake", "hostInfo", "insert", "invalidateUserCache", "isMaster", "listCollections", "listCommands",
    "listDatabases", "listIndexes", "logout", "logRotate", "mapReduce", "mapreduce.shardedfinish", "medianKey", "mergeChunks",
    "moveChunk", "parallelCollectionScan", "ping", "planCacheClear", "planCacheClearFilters", "planCacheListFilters",
    "planCacheListPlans", "planCacheListQueryShapes", "planCacheSetFilter", "profile", "reIndex", "renameCollection", "repairCursor",
    "repairDatabase", "replSetElect", "replSetFreeze", "replSetFresh", "replSetGetConfig", "replSetGetRBID", "replSetGetStatus",
    "replSetHeartbeat", "replSetInitiate", "replSetMaintenance", "replSetReconfig", "replSetStepDown", "replSetSyncFrom",
    "replSetUpdatePosition", "resetError", "resync", "revokePrivilegesFromRole", "revokeRolesFromRole", "revokeRolesFromUser",
    "rolesInfo", "saslContinue", "saslStart", "serverStatus", "setParameter", "setShardVersion", "shardConnPoolStats", "shardingState",
    "shutdown", "splitChunk", "splitVector", "top", "touch", "unsetSharding", "update", "updateRole", "updateUser", "usersInfo",
    "validate", "whatsmyuri", "writebacklisten",
];
