//! The sockets of saslauthd and authdaemond in this process: what clients of theirs may not do, and what of it
//! counts. (What Debian's own clients see: tests/tests/compat.rs.)

// Helpers of tests are tests, which clippy does not see.
#![allow(clippy::unwrap_used)]

mod common;

use auth_api::Role;
use auth_api::admin::NewAppPassword;
use common::{Authd, address};
use mail_types::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// An authd with alice that serves both sockets.
struct Compat {
    authd: Authd,
    sockets: tempfile::TempDir,
}

impl Compat {
    async fn start() -> Self {
        let sockets = tempfile::tempdir().unwrap();
        let place = sockets.path().display();
        let authd = Authd::configured(&format!(
            "[authd]\nauth_failure_delay = \"0s\"\n[authd.compat]\nsaslauthd_socket = \"{place}/mux\"\n\
             authdaemon_socket = \"{place}/socket\"\n"
        ))
        .await;
        authd.add_alice().await;
        Self { authd, sockets }
    }

    /// Says this to a socket, and hears until it closes; an error is an end that lost octets.
    async fn ask(&self, socket: &str, request: &[u8]) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.sockets.path().join(socket)).await?;
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    async fn authdaemon(&self, request: &str) -> String {
        self.ask("socket", request.as_bytes()).await.unwrap()
    }

    /// The decisions about logins so far.
    fn logins(&self) -> Vec<serde_json::Value> {
        let events = self.authd.events.all();
        let events = events.iter().map(|event| serde_json::to_value(event).unwrap());
        let is_login = |event: &serde_json::Value| event["event"].as_str().unwrap().starts_with("login_");
        events.filter(is_login).collect()
    }

    /// AUTH with this payload.
    async fn auth(&self, payload: &str) -> String {
        self.authdaemon(&format!("AUTH {}\n{payload}", payload.len()))
            .await
    }
}

/// A request to saslauthd.
fn request(strings: &[&str]) -> Vec<u8> {
    let string = |text: &&str| {
        let length = u16::try_from(text.len()).unwrap();
        [&length.to_be_bytes(), text.as_bytes()].concat()
    };
    strings.iter().flat_map(string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_password_changes_no_password() {
    let compat = Compat::start().await;
    let admin = compat.authd.client(Role::Admin);
    let app = NewAppPassword {
        address: address("alice@example.com"),
        description: "phone".into(),
        password: Secret::new("of a phone"),
    };
    admin.create_app_password(app).await.unwrap();
    let login = |password: &str| format!("imap\nlogin\nalice@example.com\n{password}\n");
    let change = |old: &str| format!("PASSWD imap\talice@example.com\t{old}\tbattery staple\n");
    assert!(compat.auth(&login("of a phone")).await.starts_with("UID="));
    assert_eq!(compat.authdaemon(&change("of a phone")).await, "FAIL\n");
    assert!(compat.auth(&login("correct horse")).await.starts_with("UID="));
    assert_eq!(compat.authdaemon(&change("correct horse")).await, "OK\n");
    assert!(compat.auth(&login("battery staple")).await.starts_with("UID="));
    compat.authd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_an_address_has_none_in_the_log() {
    let compat = Compat::start().await;
    let login = "imap\nlogin\nalice@example.com\ncorrect horse\n";
    compat.auth(login).await;
    compat
        .authdaemon(&format!("TCPREMOTEIP=192.0.2.7\nAUTH {}\n{login}", login.len()))
        .await;
    compat.auth("imap\nlogin\nalice@example.com\nwrong\n").await;
    let clients: Vec<_> = compat
        .logins()
        .iter()
        .map(|event| (event["event"].clone(), event.get("client").cloned()))
        .collect();
    assert_eq!(
        clients,
        [
            ("login_granted".into(), None),
            ("login_granted".into(), Some("192.0.2.7".into())),
            ("login_denied".into(), None),
        ]
    );
    compat.authd.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_remote_user_got_wrong_is_denied_and_counted() {
    let compat = Compat::start().await;
    // "<1@mail.test>", and answers that are no base64, without a blank, and empty.
    for answer in ["!!", "YWxpY2U=", ""] {
        let payload = format!("imap\ncram-md5\nPDFAbWFpbC50ZXN0Pg==\n{answer}\n");
        assert_eq!(compat.auth(&payload).await, "FAIL\n", "{answer}");
    }
    let long = "x".repeat(256);
    for strings in [
        vec!["alice@example.com", "", "smtp", ""],
        vec!["", "secret", "smtp", ""],
        vec![&*long, "secret", "smtp", ""],
    ] {
        let answer = compat.ask("mux", &request(&strings)).await.unwrap();
        assert!(answer[2..].starts_with("NO"), "{answer}");
    }
    let answer = compat.ask("mux", &[1, 1]).await.unwrap();
    assert_eq!(&answer[2..], "NO a string is too long");
    let logins = compat.logins();
    assert_eq!(logins.len(), 7, "{logins:?}");
    for login in logins {
        assert_eq!(login["event"], "login_denied", "{login}");
    }
    compat.authd.stop().await;
}

/// A connection that is closed on unread input is reset, and an error of the socket is no temporary failure to all.
#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_an_orderly_end() {
    let compat = Compat::start().await;
    // Nobody can say whether a password fits this.
    let rows = rusqlite::Connection::open(compat.authd.path().join("state/directory.sqlite")).unwrap();
    rows.execute("UPDATE mailbox SET password = '{NOSUCH}x'", [])
        .unwrap();
    let unread = "x".repeat(50_000);
    let mut sasl = request(&["alice@example.com", "correct horse", "smtp", "", ""]);
    sasl.extend(unread.as_bytes());
    assert_eq!(compat.ask("mux", &sasl).await.unwrap(), "");
    let payload = "imap\nlogin\nalice@example.com\ncorrect horse\n";
    let auth = format!("AUTH {}\n{payload}{unread}", payload.len());
    assert_eq!(compat.authdaemon(&auth).await, "");
    assert_eq!(compat.authdaemon(&format!("HELLO\n{unread}")).await, "");
    let logins = compat.logins();
    assert_eq!(logins.len(), 2, "{logins:?}");
    for login in logins {
        assert_eq!(login["event"], "login_unavailable", "{login}");
    }
    compat.authd.stop().await;
}
