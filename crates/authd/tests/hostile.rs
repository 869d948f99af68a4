//! What comes over a socket from somebody who speaks no gRPC, or too much of it (robustness.md A19): that
//! connection ends, and the others are served.

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
    assert_eq!(admin.domains().await.unwrap()[0].description.len(), 200);
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
