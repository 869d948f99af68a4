//! Whole life of messages on a real directory: round trips, every kind of damage, journals at each cut.

use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use durable::Disk;
use mail_types::{Address, MailId, Notify, OriginalRecipient, Reply, Ret, ReversePath};

use crate::*;

fn id(n: u64) -> MailId {
    MailId::new(1_700_000_000_000 + n, u128::from(n))
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn recipient(index: u32, state: InitialState) -> Recipient {
    Recipient {
        index,
        original: address("list@here.test"),
        final_address: Some(address(&format!("u{index}@there.test"))),
        expanded: true,
        notify: Some(Notify {
            success: false,
            failure: true,
            delay: true,
        }),
        orcpt: OriginalRecipient::parse("rfc822;list@here.test"),
        state,
    }
}

fn reply(code: u16) -> Reply {
    Reply {
        code,
        status: format!("{}.1.1", code / 100).parse().ok(),
        text: "two\nlines".to_owned(),
    }
}

fn envelope() -> Envelope {
    Envelope {
        arrival_ms: 1_700_000_000_000,
        session: MailId::new(1, 2).to_string().parse().ok(),
        parent: Some(id(99)),
        sender: ReversePath::Address(address("\"odd one\"@here.test")),
        body: BodyType::EightBit,
        smtputf8: true,
        ret: Some(Ret::Headers),
        envid: Some("env id".to_owned()),
        top: "Received: from a\r\n\tby b; now\r\n".to_owned(),
        recipients: vec![
            recipient(0, InitialState::Waiting),
            recipient(1, InitialState::MaybeRepeated),
            recipient(5, InitialState::Delivered(reply(250))),
            recipient(7, InitialState::Failed(reply(550))),
        ],
        expanded: vec![ExpandedOriginal {
            original: address("list@here.test"),
            orcpt: None,
        }],
    }
}

struct Place {
    dir: tempfile::TempDir,
    spool: Spool,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&Disk::new(), &dir.path().join("a/spool"), Owner::Qmgr).unwrap();
    Place { dir, spool }
}

impl Place {
    fn put(&self, id: MailId, body: &[u8]) {
        let mut writer = self.spool.begin(id).unwrap();
        for piece in body.chunks(1000) {
            writer.write(piece).unwrap();
        }
        writer.finish(&envelope()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("a/spool").join(name)
    }

    fn file(&self, id: MailId) -> PathBuf {
        let shard = id.to_string().chars().last().unwrap();
        self.path(&format!("incoming/{shard}/{id}"))
    }

    fn journal(&self, id: MailId) -> PathBuf {
        self.file(id).with_extension("j")
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read() {
    let place = place();
    for (n, len) in [0usize, 1, 65_535, 65_536, 65_537, 200_000]
        .into_iter()
        .enumerate()
    {
        let id = id(n as u64);
        let body: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
        place.put(id, &body);
        let message = place.spool.open_message(id).unwrap();
        message.verify().unwrap();
        assert_eq!(message.envelope(), &envelope());
        assert_eq!(message.size(), len as u64 + envelope().top.len() as u64);
        let mut back = Vec::new();
        message.body().read_to_end(&mut back).unwrap();
        assert!(back == body, "length {len}");
        assert_eq!(
            std::fs::metadata(place.file(id)).unwrap().permissions().mode() & 0o777,
            0o640
        );
    }
    assert_eq!(place.spool.scan().unwrap().messages.len(), 6);
    assert!(names(&place.path("tmp-qmgr")).is_empty());
}

#[test]
fn an_id_is_published_once() {
    let place = place();
    place.put(id(1), b"first\r\n");
    let mut again = place.spool.begin(id(1)).unwrap();
    again.write(b"second\r\n").unwrap();
    assert!(matches!(again.finish(&envelope()), Err(WriteError::Exists(_))));
    let mut body = String::new();
    place
        .spool
        .open_message(id(1))
        .unwrap()
        .body()
        .read_to_string(&mut body)
        .unwrap();
    assert_eq!(body, "first\r\n");
    assert!(names(&place.path("tmp-qmgr")).is_empty());
}

#[test]
fn abandoned_messages_leave_nothing() {
    let place = place();
    let mut writer = place.spool.begin(id(1)).unwrap();
    writer.write(b"half").unwrap();
    assert_eq!(names(&place.path("tmp-qmgr")).len(), 1);
    drop(writer);
    assert!(names(&place.path("tmp-qmgr")).is_empty());
    assert_eq!(place.spool.scan().unwrap(), Scan::default());
}

#[test]
fn one_daemon_of_a_kind_and_each_clears_its_own_temporary_directory() {
    let place = place();
    let root = place.path("");
    let disk = Disk::new();
    assert!(matches!(
        Spool::open(&disk, &root, Owner::Qmgr),
        Err(OpenError::Locked { daemon: "qmgr", .. })
    ));
    let smtpd = Spool::open(&disk, &root, Owner::Smtpd).unwrap();
    std::fs::write(root.join("tmp-qmgr/left"), "over").unwrap();
    let writing = smtpd.begin(id(1)).unwrap();
    let Place { dir, spool } = place;
    drop(spool);
    let _again = Spool::open(&disk, &root, Owner::Qmgr).unwrap();
    assert_eq!(names(&root.join("tmp-smtpd")).len(), 1, "not qmgr's to clear");
    assert!(names(&root.join("tmp-qmgr")).is_empty());
    drop((writing, dir));
}

#[test]
fn envelopes_that_contradict_themselves_are_refused() {
    let place = place();
    let mut wrong = [envelope(), envelope(), envelope(), envelope(), envelope()];
    wrong[0].recipients.clear();
    wrong[1].recipients[1].index = 0;
    wrong[2].top = "Received: x".to_owned();
    wrong[3].top = "A: x\r\n\r\nB: y\r\n".to_owned();
    wrong[4].envid = Some("a\r\nb".to_owned());
    for envelope in wrong {
        let writer = place.spool.begin(id(1)).unwrap();
        assert!(matches!(writer.finish(&envelope), Err(WriteError::Envelope(_))));
    }
    assert_eq!(place.spool.scan().unwrap(), Scan::default());
}

/// Opens and reads everything, as qmgr does before it uses a message.
fn whole(spool: &Spool, id: MailId) -> Result<Vec<u8>, ReadError> {
    let message = spool.open_message(id)?;
    message.verify()?;
    let mut body = Vec::new();
    message.body().read_to_end(&mut body)?;
    Ok(body)
}

#[test]
fn a_file_cut_at_any_byte_is_damaged() {
    let place = place();
    place.put(id(1), b"Subject: x\r\n\r\nbody\r\n");
    let bytes = std::fs::read(place.file(id(1))).unwrap();
    for len in 0..bytes.len() {
        std::fs::write(place.file(id(1)), &bytes[..len]).unwrap();
        assert!(
            matches!(whole(&place.spool, id(1)), Err(ReadError::Damaged(_))),
            "cut at {len}"
        );
    }
    for extra in [&b"\0"[..], &bytes] {
        std::fs::write(place.file(id(1)), [&bytes, extra].concat()).unwrap();
        assert!(matches!(whole(&place.spool, id(1)), Err(ReadError::Damaged(_))));
    }
    std::fs::write(place.file(id(1)), &bytes).unwrap();
    whole(&place.spool, id(1)).unwrap();
}

#[test]
fn every_flipped_bit_is_found() {
    let place = place();
    place.put(id(1), b"Subject: x\r\n\r\nbody\r\n");
    let path = place.file(id(1));
    let bytes = std::fs::read(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            file.write_all_at(&[bytes[at] ^ 1 << bit], at as u64).unwrap();
            assert!(
                matches!(whole(&place.spool, id(1)), Err(ReadError::Damaged(_))),
                "byte {at} bit {bit}"
            );
        }
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    whole(&place.spool, id(1)).unwrap();
}

#[test]
fn a_block_is_checked_when_it_is_read() {
    let place = place();
    place.put(id(1), &vec![b'x'; 200_000]);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(place.file(id(1)))
        .unwrap();
    file.write_all_at(b"y", 64 + 70_000).unwrap();
    let message = place.spool.open_message(id(1)).unwrap();
    assert_eq!(message.block(0).unwrap().unwrap().len(), 65_536);
    assert!(matches!(message.block(1), Err(ReadError::Damaged(_))));
    assert!(message.block(4).unwrap().is_none());
    assert!(message.verify().is_err());
}

#[test]
fn a_future_version_is_not_guessed_at() {
    let place = place();
    place.put(id(1), b"x\r\n");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(place.file(id(1)))
        .unwrap();
    file.write_all_at(&[2], 8).unwrap();
    let Err(ReadError::Damaged(Damage(what))) = place.spool.open_message(id(1)) else {
        panic!()
    };
    assert_eq!(what, "format version 2, this program knows 1");
}

#[test]
fn what_is_not_a_plain_file_of_ours_is_damaged_and_goes_to_quarantine() {
    let place = place();
    for n in 1..=6 {
        place.put(id(n), b"x\r\n");
    }
    let outside = place.dir.path().join("outside");
    std::fs::rename(place.file(id(1)), &outside).unwrap();
    symlink(&outside, place.file(id(1))).unwrap();
    std::fs::remove_file(place.file(id(2))).unwrap();
    std::fs::create_dir(place.file(id(2))).unwrap();
    std::fs::remove_file(place.file(id(3))).unwrap();
    nix::unistd::mkfifo(&place.file(id(3)), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::hard_link(place.file(id(4)), place.dir.path().join("second")).unwrap();
    let root = nix::unistd::geteuid().is_root();
    if root {
        nix::unistd::chown(&place.file(id(5)), Some(nix::unistd::Uid::from_raw(12345)), None).unwrap();
    }
    for n in 1..=if root { 5 } else { 4 } {
        assert!(
            matches!(place.spool.open_message(id(n)), Err(ReadError::Damaged(_))),
            "{n}"
        );
        place.spool.quarantine(id(n)).unwrap();
    }
    whole(&place.spool, id(6)).unwrap();
    assert_eq!(place.spool.scan().unwrap().messages.last(), Some(&id(6)));
    assert!(outside.exists(), "the link was moved, not its target");
}

#[test]
fn strangers_are_found_and_moved() {
    let place = place();
    place.put(id(1), b"x\r\n");
    std::fs::write(place.path("incoming/a/core"), "").unwrap();
    std::fs::write(place.path("incoming/readme"), "").unwrap();
    // An id in the wrong directory would be looked for elsewhere.
    std::fs::copy(place.file(id(1)), place.path(&format!("incoming/Z/{}", id(1)))).unwrap();
    let scan = place.spool.scan().unwrap();
    assert_eq!(scan.messages, [id(1)]);
    let shown: Vec<_> = scan.strangers.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "incoming/readme",
            &format!("incoming/Z/{}", id(1)),
            "incoming/a/core"
        ]
    );
    for stranger in &scan.strangers {
        place.spool.quarantine_stranger(stranger).unwrap();
    }
    place.spool.quarantine(id(1)).unwrap();
    assert_eq!(place.spool.scan().unwrap(), Scan::default());
    let kept = names(&place.path("quarantine"));
    assert_eq!(kept.len(), 4, "{kept:?}");
    assert!(kept.contains(&format!("{}.1", id(1))), "{kept:?}");
}

fn records() -> Vec<Record> {
    vec![
        Record::Expansion {
            of: 9,
            recipients: vec![
                recipient(10, InitialState::Waiting),
                recipient(11, InitialState::Failed(reply(550))),
            ],
            report: true,
        },
        Record::Attempt(Attempt {
            recipients: vec![0, 1],
            reply: reply(451),
            mta: "mx.there.test".to_owned(),
            at_ms: 5,
            attempts: 1,
            age_ms: 7,
            gap_ms: 300_000,
        }),
        Record::Result(FinalResult {
            recipient: 0,
            outcome: Outcome::Relayed,
            reply: reply(250),
            mta: "mx.there.test".to_owned(),
            at_ms: 6,
        }),
        Record::Report(Report {
            n: 0,
            kind: ReportKind::Failed,
            recipients: vec![7],
            at_ms: 8,
            id: id(5),
        }),
        Record::Reported { n: 0 },
        Record::Hold { on: true },
        Record::Requeue,
        Record::Deleted,
    ]
}

#[test]
fn journals_come_back() {
    let place = place();
    assert_eq!(place.spool.read_journal(id(1)).unwrap(), []);
    place.spool.prepare_journal(id(1)).unwrap();
    assert_eq!(place.spool.read_journal(id(1)).unwrap(), []);
    for record in records() {
        place
            .spool
            .append_journal(id(1), std::slice::from_ref(&record), Safety::Durable)
            .unwrap();
        place
            .spool
            .append_journal(id(2), &[record], Safety::Soon)
            .unwrap();
        place.spool.prepare_journal(id(1)).unwrap();
    }
    assert_eq!(place.spool.read_journal(id(1)).unwrap(), records());
    assert_eq!(place.spool.read_journal(id(2)).unwrap(), records());
    assert_eq!(place.spool.scan().unwrap().orphans, [id(1), id(2)]);
}

#[test]
fn a_journal_cut_anywhere_keeps_what_was_whole_and_goes_on() {
    let place = place();
    place
        .spool
        .append_journal(id(1), &records(), Safety::Durable)
        .unwrap();
    let bytes = std::fs::read(place.journal(id(1))).unwrap();
    let mut kept = Vec::new();
    for len in 0..=bytes.len() {
        for tail in [&b""[..], &[0; 50], &[0xff; 50]] {
            // Zeros alone are a torn first write; other bytes instead of a header are damage.
            if len < 32 && tail.first() == Some(&0xff) {
                continue;
            }
            std::fs::write(place.journal(id(1)), [&bytes[..len], tail].concat()).unwrap();
            let read = place.spool.read_journal(id(1));
            if len < 32 && (1..32).contains(&len) && !tail.is_empty() {
                assert!(matches!(read, Err(ReadError::Damaged(_))), "{len}");
                continue;
            }
            let read = read.unwrap();
            assert!(records().starts_with(&read), "cut at {len}");
            kept.push(read.len());
            place
                .spool
                .append_journal(id(1), &[Record::Hold { on: false }], Safety::Durable)
                .unwrap();
            let mut expected = read;
            expected.push(Record::Hold { on: false });
            assert_eq!(place.spool.read_journal(id(1)).unwrap(), expected, "cut at {len}");
        }
    }
    kept.dedup();
    assert_eq!(
        kept,
        (0..=records().len()).collect::<Vec<_>>(),
        "each record is lost only when it is cut"
    );
}

#[test]
fn a_flipped_bit_never_makes_up_a_record() {
    let place = place();
    place
        .spool
        .append_journal(id(1), &records(), Safety::Durable)
        .unwrap();
    let bytes = std::fs::read(place.journal(id(1))).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            std::fs::write(place.journal(id(1)), &flipped).unwrap();
            match place.spool.read_journal(id(1)) {
                Ok(read) => assert!(
                    records().starts_with(&read) && read.len() < records().len(),
                    "{at}"
                ),
                Err(ReadError::Damaged(_)) => assert!(at < 32, "only the header cannot be cut off"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn unknown_records_are_skipped() {
    let payload = br#"{"type":"invented-later","x":1}"#;
    let mut bytes = record::head(id(1)).to_vec();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&(payload.len() as u32).to_le_bytes()), payload);
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(crc.to_le_bytes());
    bytes.extend(payload);
    let parsed = record::parse(&bytes, id(1)).unwrap();
    assert_eq!(parsed.records, [Record::Unknown]);
}

fn result(recipient: u32, outcome: Outcome) -> Record {
    Record::Result(FinalResult {
        recipient,
        outcome,
        reply: reply(250),
        mta: String::new(),
        at_ms: 1,
    })
}

fn report(n: u32, kind: ReportKind, recipients: &[u32]) -> Record {
    Record::Report(Report {
        n,
        kind,
        recipients: recipients.to_vec(),
        at_ms: 0,
        id: id(u64::from(n)),
    })
}

#[test]
fn a_message_is_complete_when_all_are_final_and_reported() {
    let mut records = Vec::new();
    let state = |records: &[Record]| MessageState::new(&envelope(), records);
    let due = |records: &[Record]| -> Vec<(ReportKind, Vec<u32>)> {
        state(records)
            .due_reports(None)
            .into_iter()
            .map(|d| (d.kind, d.recipients))
            .collect()
    };
    // 7 failed before it came here, and the alias became four.
    let first = [
        (ReportKind::Failed, vec![7]),
        (ReportKind::Expanded, vec![0, 1, 5, 7]),
    ];
    assert_eq!(due(&records), first);
    records.push(result(0, Outcome::Passed));
    records.push(result(1, Outcome::Failed));
    assert!(state(&records).waiting().next().is_none() && !state(&records).is_complete());
    assert_eq!(due(&records)[0], (ReportKind::Failed, vec![1, 7]));
    records.push(report(0, ReportKind::Failed, &[1, 7]));
    records.push(report(1, ReportKind::Expanded, &[0, 1, 5, 7]));
    assert_eq!(due(&records), []);
    assert_eq!(state(&records).unfinished_reports().count(), 2);
    records.push(Record::Reported { n: 1 });
    assert!(!state(&records).is_complete());
    records.push(Record::Reported { n: 0 });
    assert!(state(&records).is_complete());
    // The first result counts; a later one does not make a delivered recipient fail.
    records.push(result(0, Outcome::Failed));
    assert!(state(&records).is_complete());
}

#[test]
fn nothing_is_reported_about_reports() {
    let mut envelope = envelope();
    envelope.sender = ReversePath::Null;
    let records = [result(0, Outcome::Failed), result(1, Outcome::Delivered)];
    let state = MessageState::new(&envelope, &records);
    assert_eq!(state.due_reports(Some(0)), []);
    assert!(state.is_complete());
}

#[test]
fn notify_decides_who_is_told() {
    let mut envelope = envelope();
    envelope.expanded.clear();
    let success = Notify {
        success: true,
        failure: false,
        delay: false,
    };
    for (recipient, notify) in
        envelope
            .recipients
            .iter_mut()
            .zip([Some(success), None, Some(Notify::NEVER), None])
    {
        (recipient.notify, recipient.state) = (notify, InitialState::Waiting);
    }
    let kinds = |outcome: Outcome| -> Vec<(ReportKind, Vec<u32>)> {
        let records = [0, 1, 5, 7].map(|i| result(i, outcome));
        MessageState::new(&envelope, &records)
            .due_reports(None)
            .into_iter()
            .map(|d| (d.kind, d.recipients))
            .collect()
    };
    assert_eq!(kinds(Outcome::Failed), [(ReportKind::Failed, vec![1, 7])]);
    assert_eq!(kinds(Outcome::Delivered), [(ReportKind::Success, vec![0])]);
    assert_eq!(kinds(Outcome::Relayed), [(ReportKind::Relayed, vec![0])]);
    assert_eq!(kinds(Outcome::Passed), []);
    assert_eq!(kinds(Outcome::Discarded), []);
    let waited = Record::Attempt(Attempt {
        recipients: vec![0, 1, 5, 7],
        reply: reply(450),
        mta: String::new(),
        at_ms: 0,
        attempts: 1,
        age_ms: 1000,
        gap_ms: 1,
    });
    let state = MessageState::new(&envelope, &[waited]);
    assert_eq!(state.due_reports(Some(1001)), []);
    let due = state.due_reports(Some(1000));
    assert_eq!(
        (due.len(), due[0].kind, &due[0].recipients),
        (1, ReportKind::Delayed, &vec![1, 7])
    );
}

#[test]
fn an_expansion_replaces_its_recipient_once() {
    let mut envelope = envelope();
    envelope.expanded.clear();
    envelope.recipients.truncate(1);
    envelope.recipients[0].final_address = None;
    let expansion = Record::Expansion {
        of: 0,
        recipients: vec![
            recipient(1, InitialState::Waiting),
            recipient(2, InitialState::Failed(reply(550))),
        ],
        report: true,
    };
    let state = MessageState::new(&envelope, &[expansion.clone(), expansion]);
    assert_eq!(state.waiting().map(|(i, _)| i).collect::<Vec<_>>(), [1]);
    assert_eq!(state.next_index(), 3);
    let due = state.due_reports(None);
    assert_eq!(
        due.iter().map(|d| d.kind).collect::<Vec<_>>(),
        [ReportKind::Failed, ReportKind::Expanded]
    );
    assert_eq!(
        state.expanded_original(&[1, 2]).unwrap().0,
        &address("list@here.test")
    );
}

#[test]
fn removal_leaves_the_journal_until_the_directory_is_safe() {
    let place = place();
    place.put(id(1), b"x\r\n");
    place
        .spool
        .append_journal(id(1), &[Record::Deleted], Safety::Durable)
        .unwrap();
    place.spool.remove_message(id(1)).unwrap();
    place.spool.remove_message(id(1)).unwrap();
    assert_eq!(place.spool.scan().unwrap().orphans, [id(1)]);
    place.spool.remove_journals(&[id(1), id(2)]).unwrap();
    assert_eq!(place.spool.scan().unwrap(), Scan::default());
}

proptest::proptest! {
    #[test]
    fn trailers_are_their_own_inverse(
        locals in proptest::collection::vec("[ -~\u{e4}]{1,20}", 1..5),
        envid in proptest::option::of("[^\\p{C}]{0,20}"),
        original in "\\PC{1,30}",
        flags in 0u8..16,
        text in ".{0,60}",
    ) {
        let domain = "there.test".parse::<mail_types::Domain>().unwrap();
        let addresses: Vec<Address> = locals.iter().filter_map(|l| Address::new(l, domain.clone()).ok()).collect();
        let reply = Reply::plain(200 + u16::from(flags), text);
        let states = [InitialState::Waiting, InitialState::MaybeRepeated, InitialState::Delivered(reply.clone()), InitialState::Failed(reply)];
        let recipients: Vec<Recipient> = (0..).zip(&addresses).map(|(index, address)| Recipient {
            index,
            original: address.clone(),
            final_address: (flags & 1 > 0).then(|| address.clone()),
            expanded: flags & 2 > 0,
            notify: (flags & 4 > 0).then_some(Notify::NEVER),
            orcpt: Some(OriginalRecipient { addr_type: "utf-8".to_owned(), address: original.clone() }),
            state: states[usize::from(flags % 4)].clone(),
        }).collect();
        proptest::prop_assume!(!recipients.is_empty());
        let envelope = Envelope { envid, smtputf8: flags & 8 > 0, recipients, expanded: vec![], ..envelope() };
        proptest::prop_assert_eq!(wire::decode(&wire::encode(&envelope).unwrap()).unwrap(), envelope);
    }

    #[test]
    fn no_journal_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), len in 0usize..4) {
        let mut journal = record::head(id(1)).to_vec();
        for record in &records()[..len] {
            journal.extend(record::encode(record).unwrap());
        }
        journal.extend(bytes);
        if let Ok(parsed) = record::parse(&journal, id(1)) {
            proptest::prop_assert!(parsed.records.len() >= len);
            proptest::prop_assert_eq!(&parsed.records[..len], &records()[..len]);
        }
    }
}
