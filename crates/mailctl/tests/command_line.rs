//! The program as an operator starts it: exit status, help, advice, JSON, and the question for a password.
#![allow(clippy::unwrap_used, reason = "a test program")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A configuration whose daemons do not run.
fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "[general]\nrun_dir = \"{0}/run\"\nspool_dir = \"{0}/spool\"\nevents_dir = \"{0}/events\"\n\
         [smtpd]\nsmtpd_tls_security_level = \"none\"\n[smtpd.service.submission]\nlisten = []\n\
         [smtpd.service.submissions]\nlisten = []\n[imapd]\nlisten_tls = []\n[pop3d]\nlisten_tls = []\n",
        dir.path().display()
    );
    std::fs::write(dir.path().join("postrider.toml"), text).unwrap();
    dir
}

fn mailctl(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_mailctl"))
        .arg("--config")
        .arg(dir.join("postrider.toml"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_good_configuration_and_a_wrong_one() {
    let dir = site();
    let (code, out, err) = mailctl(dir.path(), &["config", "check"]);
    assert!(code == 0 && out.ends_with(": good\n"), "{out}{err}");
    let (code, out, _) = mailctl(dir.path(), &["config", "check", "--json"]);
    assert_eq!(
        (
            code,
            serde_json::from_str::<serde_json::Value>(&out).unwrap()["good"].as_bool()
        ),
        (0, Some(true))
    );

    let over = dir.path().join("over.toml");
    std::fs::write(&over, "[general]\nmynetwork = []\n[imapd]\nidle_timeout = 5\n").unwrap();
    let (code, _, err) = mailctl(
        dir.path(),
        &["--config", over.to_str().unwrap(), "config", "check"],
    );
    assert_eq!(code, 78);
    assert!(
        err.contains("over.toml:2: general.mynetwork") && err.contains("did you mean mynetworks?"),
        "{err}"
    );
    assert!(err.contains("over.toml:4: imapd.idle_timeout"), "{err}");
}

#[test]
fn what_is_in_force_and_what_there_is() {
    let dir = site();
    let (code, out, _) = mailctl(dir.path(), &["config", "show", "general.recipient_delimiter"]);
    assert_eq!((code, out.as_str()), (0, "+\n"));
    let (code, _, err) = mailctl(dir.path(), &["config", "show", "general.nothing"]);
    assert!(code == 66 && err.contains("mailctl config reference"), "{err}");
    let (code, out, _) = mailctl(dir.path(), &["config", "reference"]);
    assert!(code == 0 && out.contains("### myhostname"));
    let (_, out, _) = mailctl(dir.path(), &["config", "reference", "--sample"]);
    assert!(out.contains("#recipient_delimiter = \"+\""));
    let (_, out, _) = mailctl(dir.path(), &["--json", "config", "reference"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&out).unwrap()[0]["name"],
        "general"
    );
}

#[test]
fn every_failure_has_its_status_and_says_what_to_do() {
    let dir = site();
    for (arguments, status, advice) in [
        (&["domain", "list"][..], 69, "systemctl status postrider-authd"),
        (&["queue", "list"], 69, "systemctl status postrider-qmgr"),
        (&["trace", "a@b.test"], 69, "events_dir"),
        (&["check", "spool"], 69, "directory in the configuration"),
        (&["alias", "add", "a@b.test"], 64, "Usage"),
        (&["mailbox", "add", "no address"], 64, "invalid value"),
        (&["nonsense"], 64, "Usage"),
    ] {
        let (code, _, err) = mailctl(dir.path(), arguments);
        assert_eq!(code, status, "{arguments:?} {err}");
        assert!(err.contains(advice), "{arguments:?} {err}");
    }
    let (code, out, err) = mailctl(dir.path(), &["--json", "domain", "list"]);
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert!(
        code == 69 && out.is_empty() && error["code"] == 69 && error["hint"].is_string(),
        "{err}"
    );
}

#[test]
fn help_teaches_and_no_password_is_an_argument() {
    let dir = site();
    let (code, out, _) = mailctl(dir.path(), &["--help"]);
    assert!(
        code == 0 && out.contains("Examples:") && out.contains("mailctl trace"),
        "{out}"
    );
    for command in [
        "domain",
        "mailbox",
        "alias",
        "alias-domain",
        "vacation",
        "admin",
        "fetchmail",
        "queue",
        "auth",
        "check",
        "config",
    ] {
        let (code, out, _) = mailctl(dir.path(), &[command, "--help"]);
        assert!(code == 0 && out.contains("Commands:"), "{command}");
    }
    let (code, _, _) = mailctl(
        dir.path(),
        &["mailbox", "add", "a@b.test", "--password", "secret"],
    );
    assert_eq!(code, 64);
}

/// Without a terminal nothing is asked and nothing hangs.
#[test]
fn without_a_terminal_the_password_has_to_come_from_somewhere() {
    let dir = site();
    // authd is "there": a socket that only accepts, since the password comes first.
    let socket = dir.path().join("run/authd/admin/sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let _authd = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    // setsid(1) takes the controlling terminal away, where the tests have one.
    let output = Command::new("setsid")
        .arg("--wait")
        .arg(env!("CARGO_BIN_EXE_mailctl"))
        .arg("--config")
        .arg(dir.path().join("postrider.toml"))
        .args(["mailbox", "password", "a@b.test"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(65), "{err}");
    assert!(err.contains("--password-stdin"), "{err}");
}
