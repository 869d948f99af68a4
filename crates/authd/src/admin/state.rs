//! Where the rows of the directory come from, for the operator.

use auth_api::admin::{
    DatabaseServer, DatabaseTrouble, DirectoryState, ReplicaPass, ReplicaState, ReplicaTable,
};

use crate::database::HostStatus;
use crate::replica::{Meta, WithReplica};
use crate::site::Site;

/// The state of a site.
pub async fn of(site: &Site) -> DirectoryState {
    let server = |host: HostStatus| DatabaseServer {
        name: host.name,
        away: host.away_for,
        error: host.error.unwrap_or_default(),
    };
    let replica = match &site.replica {
        Some(replica) => Some(of_replica(replica).await),
        None => None,
    };
    DirectoryState {
        schema: site.settings.profile.as_str().to_owned(),
        servers: site.database.hosts().into_iter().map(server).collect(),
        replica,
    }
}

async fn of_replica(replica: &WithReplica) -> ReplicaState {
    let status = replica.status().await;
    let settings = replica.settings();
    let listed = status
        .meta
        .as_ref()
        .map(|meta| meta.listed.clone())
        .unwrap_or_default();
    let whole = |table: &str| match table {
        // Those of the mailboxes.
        "app_password" => listed.iter().any(|kind| kind.as_str() == "mailbox"),
        table => listed.iter().any(|kind| kind.as_str() == table),
    };
    let table = |(name, rows): (&'static str, u64)| ReplicaTable {
        name: name.to_owned(),
        rows,
        whole: whole(name),
    };
    ReplicaState {
        path: settings.path.display().to_string(),
        trouble: status.trouble.map(|trouble| DatabaseTrouble {
            lasts: trouble.since.map(|since| since.elapsed()).unwrap_or_default(),
            reason: trouble.reason,
            answers: trouble.answers,
        }),
        usable: status.usable,
        read_at: status.meta.as_ref().map_or(0, Meta::true_at),
        whole_at: status.meta.as_ref().map_or(0, |meta| meta.whole_at),
        max_age: settings.max_age,
        size: status.extent.bytes,
        tables: status.extent.rows.into_iter().map(table).collect(),
        last: status.last.map(|pass| ReplicaPass {
            began: pass.began,
            took: pass.took,
            whole: pass.whole,
            rows: pass.rows,
            error: pass.error,
        }),
        next: status.next_in,
        requested: status.requested,
        served: status.served,
    }
}
