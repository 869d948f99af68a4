//! What one session sees of another, and of programs that change the Maildir.

use super::world::World;

async fn with_messages(count: usize) -> World {
    let world = World::new("").await;
    for number in 1..=count {
        world.put(&format!("{number}.x"), &format!("Subject: {number}\n\nbody\n"));
    }
    world
}

#[tokio::test]
async fn changes_are_told() {
    let world = with_messages(3).await;
    let (mut a, mut b) = (world.select("INBOX").await, world.select("INBOX").await);
    a.ok("STORE 1 +FLAGS (\\Flagged $New)").await;
    assert_eq!(
        b.ok("NOOP").await,
        [
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $New)",
            "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $New \\*)] Flags permitted",
            "* 1 FETCH (FLAGS (\\Flagged $New))",
        ]
    );
    a.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    a.ok("EXPUNGE").await;
    assert!(a.append("INBOX", "a: b\r\n").await.starts_with("OK "));
    // While numbers are in use nobody takes them away (RFC 3501 7.4.1).
    let lines = b.command("FETCH 1:3 UID").await;
    assert_eq!(lines[3..], ["* 4 EXISTS", "OK FETCH completed"], "{lines:?}");
    let lines = b.command("FETCH 2:4 UID").await;
    assert_eq!(
        lines,
        [
            "* 3 FETCH (UID 3)",
            "* 4 FETCH (UID 4)",
            "NO [EXPUNGEISSUED] Some of the messages no longer exist"
        ]
    );
    assert_eq!(b.ok("SEARCH ALL").await, ["* SEARCH 1 3 4"]);
    b.tagged("COPY 2 INBOX", "NO [EXPUNGEISSUED]").await;
    assert_eq!(
        b.ok("NOOP").await,
        Vec::<String>::new(),
        "told with the answer to COPY"
    );
    assert_eq!(
        b.ok("FETCH 1:* UID").await,
        ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 3)", "* 3 FETCH (UID 4)"]
    );
}

#[tokio::test]
async fn uid_commands_may_tell_of_expunges() {
    let world = with_messages(2).await;
    let (mut a, mut b) = (world.select("INBOX").await, world.select("INBOX").await);
    a.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    a.ok("EXPUNGE").await;
    let lines = b.ok("UID FETCH 2 FLAGS").await;
    assert!(lines.contains(&"* 1 EXPUNGE".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn idle_hears_at_once() {
    let world = with_messages(1).await;
    let (mut idle, mut other) = (world.select("INBOX").await, world.select("INBOX").await);
    idle.send("t IDLE\r\n").await;
    assert_eq!(idle.response().await, "+ idling");
    // Another program delivers: inotify.
    world.put("2.b", "Subject: two\n\nbody\n");
    assert_eq!(idle.response().await, "* 2 EXISTS");
    assert_eq!(idle.response().await, "* 2 RECENT");
    // Another session of this process changes something.
    other.ok("STORE 1 +FLAGS (\\Deleted)").await;
    assert_eq!(
        idle.response().await,
        "* 1 FETCH (FLAGS (\\Deleted \\Recent))".replace("\\Deleted \\Recent", "\\Recent \\Deleted")
    );
    other.ok("EXPUNGE").await;
    assert_eq!(idle.response().await, "* 1 EXPUNGE");
    idle.send("DONE\r\n").await;
    assert_eq!(idle.response().await, "t OK Idle completed");
    // robustness.md I30
    idle.send("t IDLE\r\n").await;
    assert_eq!(idle.response().await, "+ idling");
    idle.send("u NOOP\r\n").await;
    assert_eq!(idle.response().await, "t BAD Expected DONE");
}

#[tokio::test]
async fn a_mailbox_that_is_deleted_ends_its_sessions() {
    let world = World::new("").await;
    let mut other = world.log_in().await;
    other.ok("CREATE Box").await;
    let (mut idle, mut waiting) = (world.select("Box").await, world.select("Box").await);
    idle.send("t IDLE\r\n").await;
    assert_eq!(idle.response().await, "+ idling");
    other.ok("DELETE Box").await;
    assert_eq!(idle.rest().await, "* BYE The selected mailbox was deleted\r\n");
    waiting.send("t NOOP\r\n").await;
    assert_eq!(waiting.rest().await, "* BYE The selected mailbox was deleted\r\n");
}

/// What a client knows of its numbers: applies every response, and finds every lie.
#[derive(Default)]
struct Model {
    /// UIDs by number; none where it was not told yet.
    uids: Vec<Option<u32>>,
}

impl Model {
    fn hear(&mut self, response: &str, numbers_in_use: bool) {
        let words: Vec<&str> = response.split(' ').collect();
        let ["*", number, kind, rest @ ..] = words.as_slice() else {
            return;
        };
        let Ok(number) = number.parse::<usize>() else {
            return;
        };
        match *kind {
            "EXISTS" => {
                assert!(number >= self.uids.len(), "{response}: fewer without EXPUNGE");
                self.uids.resize(number, None);
            }
            "EXPUNGE" => {
                assert!(!numbers_in_use, "{response} while numbers are in use");
                self.uids.remove(number - 1);
            }
            "FETCH" => {
                let slot = &mut self.uids[number - 1];
                let uid = rest.iter().position(|word| word.trim_start_matches('(') == "UID");
                if let Some(uid) = uid.map(|at| rest[at + 1].trim_end_matches(')').parse::<u32>().unwrap()) {
                    assert!(slot.is_none_or(|known| known == uid), "{response}: was {slot:?}");
                    *slot = Some(uid);
                }
            }
            _ => {}
        }
    }
}

/// Numbers below a bound, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Changes the mailbox for a while.
async fn write(world: std::sync::Arc<World>, seed: u64) {
    let mut client = world.select("INBOX").await;
    let mut dice = Dice(seed);
    for step in 0..100 {
        match dice.roll(6) {
            0 => world.put(&format!("{seed}x{step}.p"), "Subject: put\n\nbody\n"),
            1 | 2 => assert!(client.append("INBOX", "a: b\r\n").await.starts_with("OK ")),
            3 => {
                // Somebody else may have been faster, so the answer may be NO; never BAD.
                let uid = dice.roll(200) + 1;
                let moved = client
                    .command(&format!("UID MOVE {uid} Other"))
                    .await
                    .pop()
                    .unwrap();
                assert!(
                    moved.starts_with("OK ") || moved.starts_with("NO [EXPUNGEISSUED]"),
                    "{moved}"
                );
            }
            4 => {
                let uid = dice.roll(200) + 1;
                client
                    .command(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"))
                    .await;
                client.tagged("EXPUNGE", "OK ").await;
            }
            _ => {
                let flag = dice.roll(9);
                let stored = client
                    .command(&format!("UID STORE 1:* +FLAGS (\\Flagged k{flag})"))
                    .await;
                let tagged = stored.last().unwrap();
                assert!(
                    tagged.starts_with("OK ") || tagged.starts_with("NO [EXPUNGEISSUED]"),
                    "{tagged}"
                );
            }
        }
    }
}

/// Reads for a while and believes nothing.
async fn read(world: std::sync::Arc<World>, seed: u64) -> usize {
    let mut client = world.log_in().await;
    let mut model = Model::default();
    for line in client.command("SELECT INBOX").await {
        model.hear(&line, false);
    }
    let mut dice = Dice(seed);
    for _ in 0..150 {
        let (command, numbers_in_use) = [
            ("NOOP", false),
            ("FETCH 1:* (UID FLAGS)", true),
            ("UID FETCH 1:* FLAGS", false),
            ("SEARCH TEXT b", true),
            ("FETCH 1:* (UID BODY.PEEK[])", true),
        ][dice.roll(5) as usize];
        let lines = client.command(command).await;
        let tagged = lines.last().unwrap();
        assert!(
            tagged.starts_with("OK ") || tagged.starts_with("NO [EXPUNGEISSUED]"),
            "{command}: {tagged}"
        );
        for line in &lines {
            model.hear(line, numbers_in_use);
        }
    }
    model.uids.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once() {
    let world = std::sync::Arc::new(with_messages(5).await);
    world.log_in().await.ok("CREATE Other").await;
    let writers = [11, 12, 13].map(|seed| tokio::spawn(write(world.clone(), seed)));
    let readers = [21, 22].map(|seed| tokio::spawn(read(world.clone(), seed)));
    for writer in writers {
        writer.await.unwrap();
    }
    for reader in readers {
        reader.await.unwrap();
    }
    // Every message is in one place, once.
    let mut client = world.select("INBOX").await;
    let here = client.ok("UID SEARCH ALL").await;
    assert_eq!(here[0].split(' ').count() - 2, world.files("cur").len());
    let there = client.ok("STATUS Other (MESSAGES)").await;
    assert_eq!(
        there,
        [format!(
            "* STATUS \"Other\" (MESSAGES {})",
            world.files(".Other/cur").len()
        )]
    );
}

#[tokio::test]
async fn numbers_never_lie() {
    let world = with_messages(5).await;
    let mut writer = world.select("INBOX").await;
    let mut reader = world.log_in().await;
    let mut model = Model::default();
    for line in reader.command("SELECT INBOX").await {
        model.hear(&line, false);
    }
    let mut dice = Dice(7);
    let mut next = |bound| dice.roll(bound);
    for step in 0..400 {
        match next(6) {
            0 => world.put(&format!("9{step}.p"), "Subject: put\n\nbody\n"),
            1 => assert!(writer.append("INBOX", "a: b\r\n").await.starts_with("OK ")),
            2 => {
                let uid = next(step + 6) + 1;
                writer
                    .command(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"))
                    .await;
                writer.ok(&format!("UID EXPUNGE {uid}")).await;
            }
            3 => {
                writer
                    .ok(&format!(
                        "UID STORE {}:* +FLAGS (\\Flagged k{})",
                        next(20) + 1,
                        next(5)
                    ))
                    .await;
            }
            _ => {}
        }
        let (command, numbers_in_use) = [
            ("NOOP", false),
            ("FETCH 1:* (UID FLAGS)", true),
            ("UID FETCH 1:* FLAGS", false),
            ("SEARCH ALL", true),
            ("STORE 1:* +FLAGS.SILENT (\\Seen)", true),
            ("FETCH 1:* BODY[HEADER]", true),
        ][next(6) as usize];
        for line in reader.command(command).await {
            model.hear(&line, numbers_in_use);
        }
    }
    reader
        .ok("NOOP")
        .await
        .iter()
        .for_each(|line| model.hear(line, false));
    // In the end everybody knows the same.
    let lines = reader.ok("UID FETCH 1:* UID").await;
    lines.iter().for_each(|line| model.hear(line, false));
    assert_eq!(lines.len(), model.uids.len());
    assert_eq!(world.files("cur").len(), model.uids.len());
}
