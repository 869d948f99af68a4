//! Dialogues that go wrong: nothing that a disk or authd does is ever a permanent error.

use super::*;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EACCES: i32 = 13;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;

#[tokio::test]
async fn what_authd_says_becomes_the_reply() {
    let host = Host::new();
    let mut client = host.client().await;
    client.ask("MAIL FROM:<s@y.test>", "250").await;
    client
        .ask(
            "RCPT TO:<nobody@x.test>",
            "550 5.1.1 <nobody@x.test>: User unknown",
        )
        .await;
    client.ask("RCPT TO:<broken@x.test>", "451 4.3.5").await;
    client.ask("RCPT TO:<away@x.test>", "451 4.3.0").await;
}

/// L01: each recipient has its own result, in order.
#[tokio::test]
async fn one_honest_reply_for_each_recipient() {
    let host = Host::new();
    let mut client = host.client().await;
    let to = [
        "<a@x.test> XIDX=0",
        "<other@x.test> XIDX=1",
        "<outside@x.test> XIDX=2",
        "<b@x.test> XIDX=3",
    ];
    client.message(&id(1), &to, "x: y").await;
    client.expect("250 2.0.0").await;
    let line = client.expect("451 4.3.5").await;
    assert!(line.ends_with(&format!("({})", id(1))), "{line}");
    client.expect("451 4.3.5").await;
    client.expect("250 2.0.0").await;
    assert_eq!((host.mail("a").len(), host.mail("b").len()), (1, 1));
    assert!(!host.path("other").exists(), "never written as the wrong owner");
    assert!(!host.place.path().parent().unwrap().join("outside").exists());
}

/// L09: a missing mailbox is made; a missing root, or one without permission, is temporary.
#[tokio::test]
async fn missing_directories() {
    let host = Host::new();
    let mut client = host.client().await;
    client.message(&id(1), &["<a@x.test>"], "x: y").await;
    client.expect("250 2.0.0").await;
    std::fs::remove_dir_all(host.place.path()).unwrap();
    client.message(&id(2), &["<a@x.test>"], "x: y").await;
    client.expect("451 4.").await;
    std::fs::create_dir(host.place.path()).unwrap();
    client.message(&id(3), &["<a@x.test>"], "x: y").await;
    client.expect("250 2.0.0").await;
}

/// L05: a link, a FIFO and a file where a directory belongs.
#[tokio::test]
async fn odd_mailboxes_are_temporary_and_nothing_is_written_outside() {
    let host = Host::new();
    let outside = tempfile::tempdir().unwrap();
    let mut client = host.client().await;
    client
        .message(&id(1), &["<a@x.test>", "<b@x.test>", "<c@x.test>"], "x: y")
        .await;
    for _ in 0..3 {
        client.expect("250").await;
    }
    for (user, dir) in [("a", "new"), ("b", "tmp"), ("c", "new")] {
        std::fs::remove_dir_all(host.path(user).join(dir)).unwrap();
    }
    std::os::unix::fs::symlink(outside.path(), host.path("a").join("new")).unwrap();
    nix::unistd::mkfifo(&host.path("b").join("tmp"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(host.path("c").join("new"), "x").unwrap();
    client
        .message(&id(2), &["<a@x.test>", "<b@x.test>", "<c@x.test>"], "x: y")
        .await;
    for _ in 0..3 {
        client.expect("451 4.2.0").await;
    }
    assert!(names(outside.path()).is_empty());
}

/// L10: what the disk says at each step, and that a later try succeeds.
#[tokio::test]
async fn disk_troubles() {
    type Wanted = fn(&Op<'_>) -> bool;
    let create: Wanted =
        |op| matches!(op, Op::Create { name, .. } if !name.to_string_lossy().starts_with("postrider"));
    let write: Wanted = |op| matches!(op, Op::Write { .. });
    let rename: Wanted = |op| matches!(op, Op::Rename { .. });
    let sync_file: Wanted = |op| matches!(op, Op::SyncFile { .. });
    let sync_dir: Wanted = |op| matches!(op, Op::SyncDir { .. });
    let cases = [
        (create, ENOSPC, "452 4.3.1"),
        (write, ENOSPC, "452 4.3.1"),
        (rename, ENOSPC, "452 4.3.1"),
        (create, EDQUOT, "452 4.2.2"),
        (write, EDQUOT, "452 4.2.2"),
        (create, EACCES, "451 4.2.0"),
        (create, EROFS, "451 4.3.0"),
        (write, EIO, "451 4.2.0"),
        (sync_file, EIO, "451 4.3.0"),
        (sync_dir, EIO, "451 4.3.0"),
        (sync_file, ENOSPC, "451 4.3.0"),
    ];
    for (number, (wanted, errno, reply)) in cases.into_iter().enumerate() {
        let switch = Arc::new(Switch::default());
        let host = Host::on(Disk::with_probe(switch.clone()));
        let mut client = host.client().await;
        client.message(&id(1), &["<a@x.test>"], "x: y").await;
        client.expect("250").await;
        switch.set(Some((wanted, errno)));
        client.message(&id(2), &["<a@x.test> XIDX=0"], "x: y").await;
        client.expect(reply).await;
        assert!(*switch.hits.lock().unwrap() > 0, "case {number}");
        assert_eq!(
            host.mail("a").len(),
            1,
            "case {number}: nothing promised, nothing there"
        );
        assert!(names(&host.path("a").join("tmp")).is_empty(), "case {number}");
        switch.set(None);
        if reply == "451 4.3.0" && errno != EROFS {
            // The volume is suspect until it passes a test.
            client.ask("MAIL FROM:<s@y.test>", "452 4.3.1").await;
            host.server.volume.test(host.place.path(), false).unwrap();
            let said = |word: &str| {
                host.events
                    .all()
                    .iter()
                    .any(|e| format!("{:?}", e.kind).contains(word))
            };
            assert!(said("VolumeSuspect") && said("VolumeHealthy"), "case {number}");
        }
        client
            .message(&id(2), &["<a@x.test> XIDX=0 XREPEAT"], "x: y")
            .await;
        client.expect("250 2.0.0 Ok: delivered").await;
        assert_eq!(host.mail("a").len(), 2, "case {number}");
    }
}

#[tokio::test]
async fn a_full_disk_under_a_big_message() {
    let switch = Arc::new(Switch::default());
    let host = Host::on(Disk::with_probe(switch.clone()));
    let mut client = host.client().await;
    let big = format!("x: y\r\n\r\n{}", format!("{}\r\n", "z".repeat(70)).repeat(40_000));
    switch.set(Some((|op| matches!(op, Op::Write { .. }), ENOSPC)));
    client.message(&id(1), &["<a@x.test>", "<b@x.test>"], &big).await;
    client.expect("452 4.3.1").await;
    client.expect("452 4.3.1").await;
    switch.set(None);
    assert!(host.mail("a").is_empty() && names(&host.path("a").join("tmp")).is_empty());
    client.message(&id(1), &["<a@x.test>", "<b@x.test>"], &big).await;
    client.expect("250").await;
    client.expect("250").await;
}

/// One mailbox in trouble is no trouble of the others in the same message.
#[tokio::test]
async fn a_sync_error_takes_back_only_what_it_hit() {
    let host = Host::new();
    let mut client = host.client().await;
    client
        .message(&id(1), &["<a@x.test>", "<b@x.test>"], "x: y")
        .await;
    client.expect("250").await;
    client.expect("250").await;
    // No permission in one mailbox (tests may run as root, so a file takes the directory's place).
    std::fs::remove_dir_all(host.path("b").join("tmp")).unwrap();
    std::fs::write(host.path("b").join("tmp"), "x").unwrap();
    client
        .message(&id(2), &["<a@x.test> XIDX=0", "<b@x.test> XIDX=1"], "x: y")
        .await;
    client.expect("250 2.0.0").await;
    client.expect("451 4.2.0").await;
    assert_eq!((host.mail("a").len(), host.mail("b").len()), (2, 1));
}
