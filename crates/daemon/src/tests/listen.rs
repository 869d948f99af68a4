//! Binding, and what lies in the way of a Unix socket.

use std::os::unix::fs::PermissionsExt as _;

use config::{Config, ListenAddr};

use crate::Context;
use crate::listen::bind_unix;

#[tokio::test]
async fn a_unix_socket_gets_its_directories_and_replaces_a_stale_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/authd/smtpd/sock");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let first = bind_unix(&path).unwrap();
    assert_eq!(mode(path.parent().unwrap()), 0o710);
    assert_eq!(mode(path.parent().unwrap().parent().unwrap()), 0o755);
    assert_eq!(mode(&path), 0o666);

    // Somebody answers: it is not ours to take.
    let error = bind_unix(&path).unwrap_err();
    assert!(error.to_string().contains("another process uses it"), "{error}");
    drop(first);
    // Nobody answers any more: stale.
    let second = bind_unix(&path).unwrap();
    drop(second);

    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(bind_unix(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn both_wildcards_can_be_bound_to_one_port() {
    let (ctx, _) = Context::for_test(Config::default(), ());
    let first = ctx.listen("mx", &["0.0.0.0:0".parse().unwrap()]).unwrap();
    let port = first[0].local_addr().unwrap().port();
    let second: ListenAddr = format!("[::]:{port}").parse().unwrap();
    ctx.listen("mx", &[second]).unwrap();
    let error = ctx
        .listen("mx", &[format!("0.0.0.0:{port}").parse().unwrap()])
        .unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
}
