//! The life of a message through every power cut, with each barrier removed in turn, and on disks that are
//! full or fail to sync.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use durable::crash::{Crash, Recorder};
use durable::{Disk, Op, Probe};
use mail_types::{MailId, Reply};
use spool::{
    BodyType, Envelope, FinalResult, InitialState, MessageState, Outcome, Owner, Recipient, Record, Safety,
    Spool, WriteError,
};

const BODY: &[u8] = b"Subject: x\r\n\r\nbody\r\n";

fn id() -> MailId {
    MailId::new(1_700_000_000_000, 7)
}

fn envelope() -> Envelope {
    Envelope {
        arrival_ms: 1,
        session: None,
        parent: None,
        sender: "a@here.test".parse().unwrap(),
        body: BodyType::SevenBit,
        smtputf8: false,
        ret: None,
        envid: None,
        top: String::new(),
        recipients: vec![Recipient {
            index: 0,
            original: "b@there.test".parse().unwrap(),
            final_address: Some("b@there.test".parse().unwrap()),
            expanded: false,
            notify: None,
            orcpt: None,
            state: InitialState::Waiting,
        }],
        expanded: vec![],
    }
}

fn result() -> Record {
    Record::Result(FinalResult {
        recipient: 0,
        outcome: Outcome::Passed,
        reply: Reply::plain(250, "ok"),
        mta: "mx".to_owned(),
        at_ms: 2,
    })
}

fn put(spool: &Spool, id: MailId) -> Result<(), WriteError> {
    let mut writer = spool.begin(id)?;
    writer.write(BODY)?;
    writer.finish(&envelope())
}

/// A spool whose directories lie there already, on another disk.
fn spool_on(root: &Path, disk: &Disk) -> Spool {
    drop(Spool::open(&Disk::new(), root, Owner::Smtpd).unwrap());
    Spool::open(disk, root, Owner::Smtpd).unwrap()
}

/// What recovery finds after a cut. A promised message is whole; a promised record is there; a message that
/// is done never comes back as one that has to be sent.
fn holds(crash: &Crash<'_>) -> Result<(), String> {
    let spool = Spool::open_offline(&Disk::new(), crash.root).map_err(|e| e.to_string())?;
    let promised = |what: &str| crash.promises.iter().any(|p| p == what);
    let scan = spool.scan().map_err(|e| e.to_string())?;
    if scan.messages.is_empty() {
        return if promised("accepted") && !promised("removing") {
            Err("lost".to_owned())
        } else {
            Ok(())
        };
    }
    let message = match spool.open_message(id()) {
        Ok(message) => message,
        Err(error) if promised("accepted") => return Err(error.to_string()),
        // A message that was never accepted goes to quarantine if it is not whole.
        Err(_) => return Ok(()),
    };
    let mut body = Vec::new();
    message.body().read_to_end(&mut body).map_err(|e| e.to_string())?;
    message.verify().map_err(|e| e.to_string())?;
    if body != BODY {
        return Err("another body".to_owned());
    }
    let records = spool.read_journal(id()).map_err(|e| e.to_string())?;
    let state = MessageState::new(message.envelope(), &records);
    if promised("sent") && !state.is_complete() {
        return Err("would be sent again".to_owned());
    }
    Ok(())
}

#[test]
fn every_power_cut_keeps_what_was_promised_and_every_barrier_is_needed() {
    let place = tempfile::tempdir().unwrap();
    drop(spool_on(place.path(), &Disk::new()));
    let recorder = Arc::new(Recorder::new(place.path()).unwrap());
    let spool = Spool::open(&Disk::with_probe(recorder.clone()), place.path(), Owner::Smtpd).unwrap();
    put(&spool, id()).unwrap();
    recorder.promise("accepted");
    spool.prepare_journal(id()).unwrap();
    recorder.promise("prepared");
    spool.append_journal(id(), &[result()], Safety::Durable).unwrap();
    recorder.promise("sent");
    recorder.promise("removing");
    spool.remove_message(id()).unwrap();
    spool.remove_journals(&[id()]).unwrap();
    let recording = recorder.recording();
    let barriers = recording.barriers();
    // The first write of a journal has only its header in it; without a sync the next one brings it along.
    let first = barriers
        .iter()
        .find(|(_, what)| what.contains(".j "))
        .map(|(_, what)| what.clone())
        .unwrap();
    let caught = recording.check_barriers(holds, |what| what == first).unwrap();
    assert_eq!(caught, barriers.len() - 1);
}

/// A journal that was first written without waiting, as deferrals are: the result that follows makes its name
/// durable too.
#[test]
fn a_result_behind_a_lazy_record_is_safe() {
    let place = tempfile::tempdir().unwrap();
    drop(spool_on(place.path(), &Disk::new()));
    let recorder = Arc::new(Recorder::new(place.path()).unwrap());
    let disk = Disk::with_probe(recorder.clone());
    let spool = Spool::open(&disk, place.path(), Owner::Smtpd).unwrap();
    put(&spool, id()).unwrap();
    recorder.promise("accepted");
    spool
        .append_journal(id(), &[Record::Hold { on: false }], Safety::Soon)
        .unwrap();
    spool.append_journal(id(), &[result()], Safety::Durable).unwrap();
    recorder.promise("sent");
    disk.flush().unwrap();
    recorder.recording().check(holds).unwrap();
}

/// Refuses operation number `n` of a kind with an error, once.
#[derive(Debug)]
struct Refuse {
    which: fn(&Op<'_>) -> bool,
    error: i32,
    left: AtomicUsize,
}

impl Probe for Refuse {
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        if (self.which)(op) && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            return Err(io::Error::from_raw_os_error(self.error));
        }
        Ok(())
    }
}

fn grows(op: &Op<'_>) -> bool {
    matches!(op, Op::Create { .. } | Op::Write { .. })
}

fn syncs(op: &Op<'_>) -> bool {
    matches!(op, Op::SyncFile { .. } | Op::SyncDir { .. })
}

fn failing(which: fn(&Op<'_>) -> bool, error: i32, n: usize) -> Disk {
    Disk::with_probe(Arc::new(Refuse {
        which,
        error,
        left: AtomicUsize::new(n),
    }))
}

const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const EIO: i32 = 5;

fn files(root: &Path) -> usize {
    let count = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
    let shards = std::fs::read_dir(root.join("incoming")).unwrap();
    shards.map(|shard| count(&shard.unwrap().path())).sum::<usize>() + count(&root.join("tmp-smtpd"))
}

#[test]
fn a_full_disk_accepts_nothing_and_leaves_nothing() {
    let mut hits = 0;
    for error in [ENOSPC, EDQUOT] {
        for n in 1.. {
            let place = tempfile::tempdir().unwrap();
            let spool = spool_on(place.path(), &failing(grows, error, n));
            match put(&spool, id()) {
                Ok(()) => break,
                Err(WriteError::Full(_)) => hits += 1,
                Err(other) => panic!("step {n}: {other}"),
            }
            assert_eq!(files(place.path()), 0, "step {n}");
            put(&spool, id()).unwrap();
        }
    }
    assert_eq!(hits, 8, "file, head, body, trailer; twice");
}

#[test]
fn a_failed_sync_accepts_nothing_and_the_volume_waits_for_its_test() {
    let mut hits = 0;
    for n in 1.. {
        let place = tempfile::tempdir().unwrap();
        let spool = spool_on(place.path(), &failing(syncs, EIO, n));
        match put(&spool, id()) {
            Ok(()) => break,
            Err(WriteError::Io(_)) => hits += 1,
            Err(other) => panic!("sync {n}: {other}"),
        }
        assert_eq!(files(place.path()), 0, "sync {n}");
        assert!(spool.is_suspect());
        assert!(matches!(spool.begin(id()), Err(WriteError::Io(_))));
        spool.self_test().unwrap();
        put(&spool, id()).unwrap();
    }
    assert!(hits >= 2, "{hits}");
}

#[test]
fn a_prepared_journal_needs_no_space_for_a_result_and_a_removal_none_at_all() {
    // Every file that would be created from now on is refused.
    fn creates(op: &Op<'_>) -> bool {
        matches!(op, Op::Create { .. } | Op::MakeDir { .. })
    }
    #[derive(Debug)]
    struct Never(fn(&Op<'_>) -> bool);
    impl Probe for Never {
        fn before(&self, op: &Op<'_>) -> io::Result<()> {
            if (self.0)(op) {
                Err(io::Error::from_raw_os_error(ENOSPC))
            } else {
                Ok(())
            }
        }
    }
    let place = tempfile::tempdir().unwrap();
    let spool = spool_on(place.path(), &Disk::new());
    put(&spool, id()).unwrap();
    spool.prepare_journal(id()).unwrap();
    drop(spool);
    let spool = Spool::open(
        &Disk::with_probe(Arc::new(Never(creates))),
        place.path(),
        Owner::Smtpd,
    )
    .unwrap();
    spool.append_journal(id(), &[result()], Safety::Durable).unwrap();
    spool.remove_message(id()).unwrap();
    spool.remove_journals(&[id()]).unwrap();
    assert_eq!(files(place.path()), 0);
}

#[test]
fn a_journal_whose_sync_failed_is_written_anew() {
    let place = tempfile::tempdir().unwrap();
    // The two syncs of the message, those of the journal's first record, and then the one that fails.
    for n in 3..10 {
        let place = place.path().join(n.to_string());
        std::fs::create_dir(&place).unwrap();
        let spool = spool_on(&place, &failing(syncs, EIO, n));
        if put(&spool, id()).is_err() {
            continue;
        }
        let first = Record::Hold { on: true };
        let hold = || spool.append_journal(id(), std::slice::from_ref(&first), Safety::Durable);
        let failed = hold().is_err();
        let sent = spool.append_journal(id(), &[result()], Safety::Durable);
        if !failed && sent.is_ok() {
            continue;
        }
        spool.self_test().unwrap();
        spool.append_journal(id(), &[result()], Safety::Durable).unwrap();
        let records = spool.read_journal(id()).unwrap();
        assert_eq!(records.last(), Some(&result()), "sync {n}");
        assert!(MessageState::new(&envelope(), &records).is_complete());
    }
}
