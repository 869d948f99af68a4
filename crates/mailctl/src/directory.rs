//! `mailctl directory`: where the rows of domains, mailboxes and aliases come from.

use std::time::{Duration, Instant};

use auth_api::admin::{DirectoryState, ReplicaPass, ReplicaState};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::error::Failure;
use crate::output::{clean, local_time, rough_duration, size};
use crate::session::Session;

/// Time between two looks whether the copy is up to date.
const LOOK: Duration = Duration::from_millis(200);

/// Where rows come from.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The database's servers, and the copy that answers while they are away
    ///
    /// While the database is away, known users go on receiving mail and logging in from the copy; what the copy
    /// does not know is a temporary failure. The copy holds the password hashes of all users.
    Status,
    /// Read all rows into the copy now
    Refresh(Refresh),
}

/// A refresh.
#[derive(Debug, Args)]
pub(crate) struct Refresh {
    /// Seconds to wait for its end; it goes on afterwards
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

/// Runs one of them.
pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Status => {
            let state = session.authd()?.directory_state().await?;
            show(&state, session);
            Ok(())
        }
        Command::Refresh(refresh) => run_refresh(&refresh, session).await,
    }
}

async fn run_refresh(refresh: &Refresh, session: &Session) -> Result<(), Failure> {
    let authd = session.authd()?;
    let off = || {
        Failure::bad_request(
            "there is no copy",
            "it is kept for backend = \"mysql\", unless [authd.replica] enabled is false",
        )
    };
    let begin = Instant::now();
    let mut replica = authd.refresh_directory().await?.replica.ok_or_else(off)?;
    let mut request = replica.requested;
    while replica.served < request {
        if begin.elapsed() > Duration::from_secs(refresh.timeout) {
            return Err(Failure::try_later(
                "the copy is not up to date yet",
                "the work goes on; mailctl directory status shows when it is done",
            ));
        }
        tokio::time::sleep(LOOK).await;
        replica = authd.directory_state().await?.replica.ok_or_else(off)?;
        if replica.requested < request {
            // A restart or reload in between: authd counts from the beginning and does not know of ours.
            replica = authd.refresh_directory().await?.replica.ok_or_else(off)?;
            request = replica.requested;
        }
    }
    match replica.last {
        Some(ReplicaPass {
            error: Some(error), ..
        }) => Err(Failure::try_later(
            format!("the copy was not brought up to date: {}", clean(&error)),
            "mailctl directory status shows the state of the database",
        )),
        Some(pass) => {
            let text = format!("read {} rows in {}", pass.rows, precise(pass.took));
            session.output.done(&pass_json(&pass), &text);
            Ok(())
        }
        None => Err(Failure::internal("authd told nothing about it")),
    }
}

fn show(state: &DirectoryState, session: &Session) {
    let mut fields = vec![("source", source(state)), ("schema", state.schema.clone())];
    for server in &state.servers {
        let text = match server.away {
            None => "works".to_owned(),
            Some(away) => format!("away for {}: {}", rough_duration(away), clean(&server.error)),
        };
        fields.push(("server", format!("{}  {text}", server.name)));
    }
    match &state.replica {
        None if state.servers.is_empty() => {
            fields.push(("replica", "none: the tables are a file here".to_owned()));
        }
        None => fields.push(("replica", "off ([authd.replica] enabled)".to_owned())),
        Some(replica) => fields.extend(replica_fields(replica)),
    }
    session.output.fields(&as_json(state), &fields);
}

/// What answers now.
fn source(state: &DirectoryState) -> String {
    let trouble = state
        .replica
        .as_ref()
        .and_then(|replica| replica.trouble.as_ref());
    let works = state.servers.iter().find(|server| server.away.is_none());
    match (trouble, works) {
        (Some(trouble), _) if source_word(state) == "none" => {
            format!(
                "none: the copy cannot be used, and the database is away: {}",
                clean(&trouble.reason)
            )
        }
        (Some(trouble), _) => format!(
            "replica, for {}, {} answers: {}",
            rough_duration(trouble.lasts),
            trouble.answers,
            clean(&trouble.reason)
        ),
        (None, Some(server)) => format!("database, {}", server.name),
        (None, None) if state.servers.is_empty() => "database, a file".to_owned(),
        (None, None) => "none: no server of the database works".to_owned(),
    }
}

/// The same in one word.
fn source_word(state: &DirectoryState) -> &'static str {
    let works = state.servers.is_empty() || state.servers.iter().any(|server| server.away.is_none());
    match &state.replica {
        Some(replica) if replica.trouble.is_some() && replica.usable => "replica",
        Some(replica) if replica.trouble.is_some() => "none",
        _ if works => "database",
        _ => "none",
    }
}

fn replica_fields(replica: &ReplicaState) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let now = jiff::Timestamp::now().as_second();
    let age = |at: i64| {
        let seconds = u64::try_from(now.saturating_sub(at)).unwrap_or_default();
        rough_duration(Duration::from_secs(seconds))
    };
    let most = rough_duration(replica.max_age);
    fields.push((
        "replica",
        match (replica.read_at, replica.usable) {
            (0, _) => "none yet".to_owned(),
            (at, true) => format!("{} old, may be {most}", age(at)),
            (at, false) => format!("{} old, too old to be used (more than {most})", age(at)),
        },
    ));
    if replica.read_at > 0 {
        fields.push(("read whole", format!("{} ago", age(replica.whole_at))));
        fields.push((
            "file",
            format!("{}, {}", clean(&replica.path), size(replica.size)),
        ));
    }
    for table in &replica.tables {
        let note = if table.whole {
            ""
        } else {
            " (those that were asked for)"
        };
        fields.push(("rows", format!("{} {}{note}", table.rows, table.name)));
    }
    if let Some(pass) = &replica.last {
        let when = local_time(u64::try_from(pass.began).unwrap_or_default().saturating_mul(1000));
        let what = match (&pass.error, pass.whole) {
            (Some(error), _) => format!("failed: {}", clean(error)),
            (None, true) => format!("all {} rows", pass.rows),
            (None, false) => format!("{} rows that changed", pass.rows),
        };
        fields.push(("last refresh", format!("{when}, {}, {what}", precise(pass.took))));
    }
    if let Some(next) = replica.next {
        fields.push(("next refresh", format!("in {}", rough_duration(next))));
    }
    fields
}

/// `12 ms`, `3.4 s`.
fn precise(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn as_json(state: &DirectoryState) -> Value {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let servers: Vec<Value> = state
        .servers
        .iter()
        .map(|server| {
            json!({
                "name": server.name,
                "works": server.away.is_none(),
                "away_ms": server.away.map(millis),
                "error": server.away.map(|_| &server.error),
            })
        })
        .collect();
    let replica = state.replica.as_ref().map(|replica| {
        let tables: serde_json::Map<String, Value> = replica
            .tables
            .iter()
            .map(|table| {
                (
                    table.name.clone(),
                    json!({ "rows": table.rows, "whole": table.whole }),
                )
            })
            .collect();
        json!({
            "path": replica.path,
            "in_use": replica.trouble.is_some(),
            "trouble": replica.trouble.as_ref().map(|trouble| json!({
                "for_ms": millis(trouble.lasts),
                "reason": trouble.reason,
                "answers": trouble.answers,
            })),
            "usable": replica.usable,
            "read_at": replica.read_at,
            "whole_at": replica.whole_at,
            "max_age_s": replica.max_age.as_secs(),
            "bytes": replica.size,
            "tables": tables,
            "last": replica.last.as_ref().map(pass_json),
            "next_ms": replica.next.map(millis),
        })
    });
    json!({
        "source": source_word(state),
        "schema": state.schema,
        "servers": servers,
        "replica": replica,
    })
}

fn pass_json(pass: &ReplicaPass) -> Value {
    json!({
        "began": pass.began,
        "took_ms": u64::try_from(pass.took.as_millis()).unwrap_or(u64::MAX),
        "whole": pass.whole,
        "rows": pass.rows,
        "error": pass.error,
    })
}

#[cfg(test)]
mod tests {
    use auth_api::admin::{DatabaseServer, DatabaseTrouble};

    use super::*;

    #[test]
    fn what_answers_in_one_word() {
        let server = |away| DatabaseServer {
            name: "a".into(),
            away,
            error: String::new(),
        };
        let away = Some(Duration::from_secs(9));
        let state = |server: Option<DatabaseServer>, replica: Option<(bool, bool)>| DirectoryState {
            schema: "postfixadmin".into(),
            servers: server.into_iter().collect(),
            replica: replica.map(|(trouble, usable)| ReplicaState {
                path: String::new(),
                trouble: trouble.then(|| DatabaseTrouble {
                    lasts: Duration::from_secs(9),
                    reason: "gone".into(),
                    answers: 0,
                }),
                usable,
                read_at: 1,
                whole_at: 1,
                max_age: Duration::from_secs(1),
                size: 0,
                tables: Vec::new(),
                last: None,
                next: None,
                requested: 0,
                served: 0,
            }),
        };
        for (state, word) in [
            (state(None, None), "database"),
            (state(Some(server(None)), Some((false, true))), "database"),
            (state(Some(server(away)), None), "none"),
            (state(Some(server(away)), Some((true, true))), "replica"),
            (state(Some(server(away)), Some((true, false))), "none"),
        ] {
            assert_eq!(source_word(&state), word);
            assert!(source(&state).starts_with(word), "{}", source(&state));
        }
    }
}
