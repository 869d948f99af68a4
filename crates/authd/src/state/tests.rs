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
    let rows = state.read(|db| {
        let failures: i64 = db.query_row("SELECT count(*) FROM failures", [], |row| row.get(0))?;
        let known: i64 = db.query_row("SELECT count(*) FROM known_networks", [], |row| row.get(0))?;
        Ok((failures, known))
    });
    assert_eq!(rows.await.unwrap(), (0, 2));
    assert!(
        !state
            .read(|db| is_known(db, "u@d.test", "192.0.2.1", 1_001 + KNOWN))
            .await
            .unwrap()
    );
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
