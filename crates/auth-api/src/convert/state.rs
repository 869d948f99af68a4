//! `postrider.admin.v1`: where the rows of the directory come from.

use std::time::Duration;

use super::Malformed;
use crate::admin::{
    DatabaseServer, DatabaseTrouble, DirectoryState, ReplicaPass, ReplicaState, ReplicaTable,
};
use crate::pb::admin as pb;

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<DirectoryState> for pb::DirectoryState {
    fn from(state: DirectoryState) -> Self {
        let server = |server: DatabaseServer| pb::DatabaseServer {
            name: server.name,
            away_ms: server.away.map(millis),
            error: server.error,
        };
        Self {
            schema: state.schema,
            servers: state.servers.into_iter().map(server).collect(),
            replica: state.replica.map(Into::into),
        }
    }
}

impl From<ReplicaState> for pb::Replica {
    fn from(state: ReplicaState) -> Self {
        let table = |table: ReplicaTable| pb::ReplicaTable {
            name: table.name,
            rows: table.rows,
            whole: table.whole,
        };
        Self {
            path: state.path,
            trouble: state.trouble.map(|trouble| pb::DatabaseTrouble {
                for_ms: millis(trouble.lasts),
                reason: trouble.reason,
                answers: trouble.answers,
            }),
            usable: state.usable,
            read_at: state.read_at,
            whole_at: state.whole_at,
            max_age: state.max_age.as_secs(),
            size: state.size,
            tables: state.tables.into_iter().map(table).collect(),
            last: state.last.map(|pass| pb::ReplicaPass {
                began: pass.began,
                took_ms: millis(pass.took),
                whole: pass.whole,
                rows: pass.rows,
                error: pass.error.unwrap_or_default(),
            }),
            next_ms: state.next.map(millis),
            requested: state.requested,
            served: state.served,
        }
    }
}

impl TryFrom<pb::DirectoryState> for DirectoryState {
    type Error = Malformed;

    fn try_from(state: pb::DirectoryState) -> Result<Self, Malformed> {
        let server = |server: pb::DatabaseServer| DatabaseServer {
            name: server.name,
            away: server.away_ms.map(Duration::from_millis),
            error: server.error,
        };
        Ok(Self {
            schema: state.schema,
            servers: state.servers.into_iter().map(server).collect(),
            replica: state.replica.map(Into::into),
        })
    }
}

impl From<pb::Replica> for ReplicaState {
    fn from(state: pb::Replica) -> Self {
        let table = |table: pb::ReplicaTable| ReplicaTable {
            name: table.name,
            rows: table.rows,
            whole: table.whole,
        };
        Self {
            path: state.path,
            trouble: state.trouble.map(|trouble| DatabaseTrouble {
                lasts: Duration::from_millis(trouble.for_ms),
                reason: trouble.reason,
                answers: trouble.answers,
            }),
            usable: state.usable,
            read_at: state.read_at,
            whole_at: state.whole_at,
            max_age: Duration::from_secs(state.max_age),
            size: state.size,
            tables: state.tables.into_iter().map(table).collect(),
            last: state.last.map(|pass| ReplicaPass {
                began: pass.began,
                took: Duration::from_millis(pass.took_ms),
                whole: pass.whole,
                rows: pass.rows,
                error: Some(pass.error).filter(|error| !error.is_empty()),
            }),
            next: state.next_ms.map(Duration::from_millis),
            requested: state.requested,
            served: state.served,
        }
    }
}
