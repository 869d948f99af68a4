//! The file: what is written is read, also by the next process; damage and age are survived.

use std::sync::Arc;

use super::*;

fn open(dir: &tempfile::TempDir, now: u64) -> State {
    State::open(&dir.path().join("authd.sqlite"), now).unwrap()
}

fn success(account: &str, network: &str, at: u64) -> Write {
    Write::Success {
        account: account.into(),
        network: Some(network.into()),
        mechanism: "PLAIN".into(),
        service: "imap".into(),
        at,
    }
}

fn failure(network: &str, count: u32, last: u64) -> FailureRow {
    FailureRow {
        account: String::new(),
        network: network.into(),
        count,
        last,
    }
}

#[tokio::test]
async fn what_was_written_is_read_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(&dir, 1_000);
    state.write(Write::Failure(failure("192.0.2.1", 1, 1_000)));
    state.write(Write::Failure(failure("192.0.2.1", 2, 1_001)));
    state.write(success("u@d.test", "192.0.2.1", 1_000));
    state.write(success("u@d.test", "192.0.2.1", 1_005));
    // A read sees the writes before it.
    let known = state
        .read(|db| is_known(db, "u@d.test", "192.0.2.1", 1_000))
        .await;
    assert!(known.unwrap());
    state.close();

    let state = open(&dir, 1_010);
    let rows = state.read(|db| failures(db, 1_010, 10)).await.unwrap();
    assert_eq!(rows, [failure("192.0.2.1", 2, 1_001)]);
    let rows = state.read(|db| usage(db, 10)).await.unwrap();
    assert_eq!(
        (rows[0].count, rows[0].last, rows[0].scram_keys),
        (2, 1_005, false)
    );
    assert!(
        !state
            .read(|db| is_known(db, "u@d.test", "192.0.2.2", 1_000))
            .await
            .unwrap()
    );
    state.write(Write::Forget {
        keys: vec![(String::new(), "192.0.2.1".into())],
    });
    assert_eq!(state.read(|db| failures(db, 1_010, 10)).await.unwrap(), []);
    state.close();
}

#[tokio::test]
async fn what_is_old_goes() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(&dir, 1_000);
    state.write(Write::Failure(failure("192.0.2.1", 1, 1_000)));
    state.write(success("u@d.test", "192.0.2.1", 1_000));
    // A write of later brings the cleaning with it.
    state.write(success("v@d.test", "192.0.2.1", 1_000 + PRUNE));
    let rows = async || {
        let read = state.read(|db| Ok((count(db, "failures")?, count(db, "known_networks")?)));
        read.await.unwrap()
    };
    while rows().await.0 > 0 {}
    assert_eq!(rows().await, (0, 2));
    assert!(
        !state
            .read(|db| is_known(db, "u@d.test", "192.0.2.1", 1_001 + KNOWN))
            .await
            .unwrap()
    );
    state.close();
}

fn count(db: &Connection, table: &str) -> rusqlite::Result<i64> {
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
}

/// Logins have their turn between two slices of what is removed.
#[tokio::test]
async fn old_rows_go_in_slices() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(&dir, 1_000);
    let filled = state.read(|db| {
        db.execute_batch(
            "INSERT INTO known_networks(account, network, last) WITH RECURSIVE n(i) AS
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) SELECT 'u' || i, 'x', i FROM n;
             INSERT INTO failures(account, network, count, last) WITH RECURSIVE n(i) AS
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
             SELECT 'u' || i, '', 1, 2200 + KEPT FROM n"
                .replace("KEPT", &KNOWN.to_string())
                .as_str(),
        )
    });
    filled.await.unwrap();
    let seen = state.read(|db| {
        let mut prune = Prune::new(2_200 + KNOWN);
        let mut seen = vec![count(db, "known_networks")?];
        while prune.slice(db)? {
            seen.push(count(db, "known_networks")?);
        }
        seen.dedup();
        Ok(seen)
    });
    assert_eq!(seen.await.unwrap(), [2_500, 1_500, 500, 301]);
    // What is not old is not counted as too much.
    assert_eq!(state.read(|db| count(db, "failures")).await.unwrap(), 2_500);
    state.close();
}

/// Keys for SCRAM go when nobody used them for a year.
#[tokio::test]
async fn keys_that_are_used_stay() {
    const YEAR: u64 = 365 * 86_400;
    let dir = tempfile::tempdir().unwrap();
    let state = open(&dir, 0);
    let keys = |account: &str| Write::ScramKeys {
        account: account.into(),
        hash: "SHA-256",
        row: ScramRow {
            bound: vec![1],
            iterations: 1,
            salt: vec![1],
            stored_key: vec![1],
            server_key: vec![1],
        },
        at: 0,
    };
    state.write(keys("used@d.test"));
    state.write(keys("unused@d.test"));
    state.write(Write::Success {
        account: "used@d.test".into(),
        network: None,
        mechanism: "SCRAM-SHA-256-PLUS".into(),
        service: "imap".into(),
        at: 10,
    });
    state.close();
    let state = open(&dir, YEAR + 5);
    while state.read(|db| count(db, "scram_keys")).await.unwrap() > 1 {}
    let used = state.read(|db| scram_keys(db, "used@d.test", "SHA-256")).await;
    assert!(used.unwrap().is_some());
    state.close();
}

#[tokio::test]
async fn an_account_has_room_for_some_networks() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(&dir, 0);
    for i in 0..100 {
        state.write(success("u@d.test", &format!("192.0.2.{i}"), i));
    }
    assert_eq!(
        state.read(|db| known_count(db, "u@d.test", 100)).await.unwrap(),
        64
    );
    assert!(
        state
            .read(|db| is_known(db, "u@d.test", "192.0.2.99", 100))
            .await
            .unwrap()
    );
    assert!(
        !state
            .read(|db| is_known(db, "u@d.test", "192.0.2.0", 100))
            .await
            .unwrap()
    );
    state.close();
}

#[tokio::test]
async fn a_damaged_file_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("authd.sqlite"), "this is no database".repeat(100)).unwrap();
    let state = open(&dir, 0);
    state.write(success("u@d.test", "192.0.2.1", 0));
    assert!(
        state
            .read(|db| is_known(db, "u@d.test", "192.0.2.1", 0))
            .await
            .unwrap()
    );
    assert!(dir.path().join("authd.sqlite.damaged").exists());
    state.close();
}

#[tokio::test]
async fn the_file_is_ours_alone_and_a_closed_state_does_not_hang() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let state = Arc::new(open(&dir, 0));
    let mode = fs::metadata(dir.path().join("authd.sqlite"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = state.read(|db| secret(db, "x", &[1])).await.unwrap();
    assert_eq!(
        (first, state.read(|db| secret(db, "x", &[2])).await.unwrap()),
        (vec![1], vec![1])
    );
    state.close();
    state.close();
    assert!(state.read(|_| Ok(())).await.is_err());
    state.write(success("u@d.test", "192.0.2.1", 0));
}

#[tokio::test]
async fn where_an_account_is_known_is_said_before_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(&dir, 1_000);
    let (account, network) = ("u@d.test", "192.0.2.1");
    assert!(!state.is_known(account, network, 1_000).await);
    state.write(success(account, network, 1_000));
    assert!(state.is_known(account, network, 1_000).await);
    assert!(!state.is_known("v@d.test", network, 1_000).await);
    assert!(!state.is_known(account, "192.0.2.2", 1_000).await);
    assert!(!state.is_known(account, network, 1_001 + KNOWN).await);
    state.close();
    // From the file, by the next process.
    let state = open(&dir, 2_000);
    assert!(state.is_known(account, network, 2_000).await);
    assert!(!state.is_known(account, "192.0.2.2", 2_000).await);
}
