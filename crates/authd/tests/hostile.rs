//! What comes over a socket from somebody who speaks no gRPC, or too much of it (robustness.md A19): that
//! connection ends, and the others are served.

// Helpers of tests are tests, which clippy does not see.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use auth_api::admin::{AdminError, DomainUpdate};
use auth_api::{Role, Trace};
use common::{Authd, address, domain};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn socket(authd: &Authd, role: &str) -> PathBuf {
    authd.path().join("run/authd").join(role).join("sock")
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_own_connection() {
    let authd = Authd::with_alice().await;
    let smtpd = authd.client(Role::Smtpd);
    let alice = address("alice@example.com");
    let mut continuation = PREFACE.to_vec();
    // Empty SETTINGS, HEADERS without END_HEADERS, then CONTINUATION frames without end.
    continuation.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    continuation.extend([0, 0, 0, 1, 0, 0, 0, 0, 1]);
    for _ in 0..100_000 {
        continuation.extend([0, 0, 1, 9, 0, 0, 0, 0, 1, 0x82]);
    }
    let cases: [Vec<u8>; 4] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        [PREFACE, &[0xff; 100_000]].concat(),
        vec![0; 1_000_000],
        continuation,
    ];
    for case in cases {
        let mut stream = UnixStream::connect(socket(&authd, "smtpd")).await.unwrap();
        let (mut read, mut write) = stream.split();
        let mut answer = Vec::new();
        // It may close before everything is written, and does not have to be polite about it.
        let talk = async { tokio::join!(write.write_all(&case), read.read_to_end(&mut answer)) };
        let ended = tokio::time::timeout(Duration::from_secs(5), talk).await;
        assert!(ended.is_ok(), "still open after {:?}", &case[..20]);
        assert!(answer.len() < 16_384);
        smtpd.resolve(&alice, Trace::default()).await.unwrap();
    }
    authd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_have_a_size() {
    let authd = Authd::with_alice().await;
    let admin = authd.client(Role::Admin);
    let describe = |size: usize| DomainUpdate {
        description: Some("x".repeat(size)),
        ..DomainUpdate::default()
    };
    let example = domain("example.com");
    admin.update_domain(&example, describe(200)).await.unwrap();
    let refused = admin.update_domain(&example, describe(2 << 20)).await;
    assert!(matches!(refused, Err(AdminError::Unavailable(_))), "{refused:?}");
    assert_eq!(admin.domains(None).all().await.unwrap()[0].description.len(), 200);
    authd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_a_number() {
    let authd = Authd::with_alice().await;
    let smtpd = authd.client(Role::Smtpd);
    smtpd
        .resolve(&address("alice@example.com"), Trace::default())
        .await
        .unwrap();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(UnixStream::connect(socket(&authd, "smtpd")).await.unwrap());
    }
    // Those over the limit are closed; the one in use goes on.
    let mut last = silent.pop().unwrap();
    let mut byte = [0];
    assert!(matches!(last.read(&mut byte).await, Ok(0) | Err(_)));
    smtpd
        .resolve(&address("alice@example.com"), Trace::default())
        .await
        .unwrap();
    authd.stop().await;
}

/// HTTP/2 by hand: frames that no library would send.
mod frames {
    /// A frame.
    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// Empty SETTINGS.
    pub fn settings() -> Vec<u8> {
        frame(4, 0, 0, &[])
    }

    /// The header list of a gRPC call (RFC 7541: indexed fields and literals without indexing).
    pub fn call(path: &str) -> Vec<u8> {
        // :method POST, :scheme http
        let mut block = vec![0x83, 0x86];
        for (index, value) in [(4, path), (1, "authd.invalid"), (31, "application/grpc")] {
            literal(&mut block, index, value.as_bytes());
        }
        block
    }

    /// A field with a name of the static table.
    pub fn literal(block: &mut Vec<u8>, index: u8, value: &[u8]) {
        match index {
            0..15 => block.push(index),
            _ => block.extend([15, index - 15]),
        }
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value);
    }

    pub const HEADERS: u8 = 1;
    pub const DATA: u8 = 0;
    pub const RESET: u8 = 3;
    pub const END_HEADERS: u8 = 4;
}

const RESOLVE: &str = "/postrider.directory.v1.Directory/ResolveRecipient";

/// Says all of it, and hears what authd says until it closes or has said nothing for a second. It may close in the
/// middle.
async fn say(authd: &Authd, case: &[u8]) -> Vec<u8> {
    let stream = UnixStream::connect(socket(authd, "smtpd")).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let case = [PREFACE, &frames::settings(), case].concat();
    let writing = tokio::spawn(async move {
        let _ = write.write_all(&case).await;
        write
    });
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_secs(1), read.read(&mut piece)).await {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..read]);
    }
    writing.abort();
    answer
}

fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// Streams that are opened and reset at once (CVE-2023-44487): they end their own connection, not authd.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_streams_and_resets() {
    let authd = Authd::with_alice().await;
    let smtpd = authd.client(Role::Smtpd);
    let alice = address("alice@example.com");
    let before = resident_memory();
    let mut flood = Vec::new();
    for number in 0..100_000 {
        let stream = 2 * number + 1;
        flood.extend(frames::frame(
            frames::HEADERS,
            frames::END_HEADERS,
            stream,
            &frames::call(RESOLVE),
        ));
        flood.extend(frames::frame(frames::RESET, 0, stream, &8u32.to_be_bytes()));
    }
    let sent = flood.len() as u64;
    let mut talk = Box::pin(say(&authd, &flood));
    let answer = loop {
        tokio::select! {
            answer = &mut talk => break answer,
            resolution = smtpd.resolve(&alice, Trace::default()) => drop(resolution.unwrap()),
        }
    };
    drop(talk);
    // GOAWAY is frame type 7.
    assert!(
        answer
            .windows(9)
            .any(|frame| frame[3] == 7 && frame[5..9] == [0; 4]),
        "the connection goes on"
    );
    let grown = resident_memory().saturating_sub(before);
    assert!(grown < 3 * sent + (32 << 20), "{grown} octets more");
    smtpd.resolve(&alice, Trace::default()).await.unwrap();
    authd.stop().await;
}

/// A small header block that means a big one (CVE-2016-1544, HPACK bomb): a field of 4 KB, named again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_block_that_grows() {
    let authd = Authd::with_alice().await;
    let before = resident_memory();
    let mut block = frames::call(RESOLVE);
    // Literal with incremental indexing, new name "x", a value of 3,900 octets; it becomes entry 62.
    block.extend([0x40, 1, b'x', 0x7f]);
    let mut rest = 3_900 - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
    block.extend(vec![b'v'; 3_900]);
    block.extend(vec![0xbe; 10_000]);
    let mut flood = Vec::new();
    for number in 0..50 {
        flood.extend(frames::frame(
            frames::HEADERS,
            frames::END_HEADERS,
            2 * number + 1,
            &block,
        ));
    }
    // 50 streams with 39 MB each, if anybody believed them.
    say(&authd, &flood).await;
    let grown = resident_memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} octets more");
    let smtpd = authd.client(Role::Smtpd);
    smtpd
        .resolve(&address("alice@example.com"), Trace::default())
        .await
        .unwrap();
    authd.stop().await;
}

/// A message that is announced with a gigabyte is refused by its length.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_gigabyte() {
    let authd = Authd::with_alice().await;
    let before = resident_memory();
    let mut flood = frames::frame(frames::HEADERS, frames::END_HEADERS, 1, &frames::call(RESOLVE));
    let mut message = vec![0];
    message.extend((1u32 << 30).to_be_bytes());
    message.extend(vec![b'x'; 16_000]);
    flood.extend(frames::frame(frames::DATA, 0, 1, &message));
    let answer = say(&authd, &flood).await;
    // The status comes in trailers on stream 1, though the message never ends.
    assert!(
        answer
            .windows(9)
            .any(|frame| frame[3] == 1 && frame[5..9] == [0, 0, 0, 1]),
        "{answer:?}"
    );
    let grown = resident_memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} octets more");
    authd.stop().await;
}

/// Where the configuration names users, nobody else is let in (robustness.md A20).
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_knows_its_users() {
    let ours = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let authd = Authd::configured(&format!(
        "[authd.socket_uids]\nsmtpd = [{}]\nqmgr = [{ours}, 1]\n",
        ours + 1
    ))
    .await;
    authd.add_alice().await;
    let alice = address("alice@example.com");
    let refused = authd.client(Role::Smtpd).resolve(&alice, Trace::default()).await;
    assert!(refused.is_err());
    authd
        .client(Role::Qmgr)
        .resolve(&alice, Trace::default())
        .await
        .unwrap();
    authd.stop().await;
}
