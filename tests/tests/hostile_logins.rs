//! Logins by people who mean no good, on real daemons. The table of all rows of robustness.md 2.3 with the test of each
//! stands in docs/security.md, *Hostile logins*.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use auth_api::client::Client;
use auth_api::sasl::{LoginContext, LoginStep, TlsState};
use mail_types::{Secret, SessionId};
use tests::client::{Imap, Pop3, Smtp};
use tests::site::{Endpoints, PASSWORD, SiteBuilder};
use tests::{Site, wait};

/// Where nobody waits after a failure, so that many can be tried.
fn site() -> SiteBuilder {
    Site::builder()
        .set("authd.auth_failure_delay", "0s")
        .set("authd.auth_failure_delay_limit", "0s")
        .set("smtpd.smtpd_error_sleep_time", "0s")
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The answers of the three protocols to the initial response of a mechanism, each on a connection of its own.
fn answers(endpoints: &Endpoints, mechanism: &str, response: &[u8]) -> Result<[String; 3]> {
    // An empty initial response is spelled "=" (RFC 4954 section 4, RFC 4959 section 3, RFC 5034 section 4).
    let encoded = if response.is_empty() {
        "=".to_owned()
    } else {
        base64(response)
    };
    let mut smtp = endpoints.smtp("submissions")?;
    let smtp = smtp.command(&format!("AUTH {mechanism} {encoded}"))?.text();
    let mut imap = endpoints.imaps()?;
    let imap = match encoded.len() {
        // What is longer than a line before the login may be comes as the answer to a challenge.
        0..4000 => {
            imap.command(&format!("AUTHENTICATE {mechanism} {encoded}"))?
                .tagged
        }
        _ => {
            imap.line
                .send(format!("t AUTHENTICATE {mechanism}\r\n").as_bytes())?;
            imap.response()?;
            imap.line.send(format!("{encoded}\r\n").as_bytes())?;
            String::from_utf8_lossy(&imap.response()?).into_owned()
        }
    };
    let mut pop3 = endpoints.pop3s()?;
    let pop3 = match encoded.len() {
        0..200 => pop3.command(&format!("AUTH {mechanism} {encoded}"))?,
        _ => {
            pop3.line.send(format!("AUTH {mechanism}\r\n").as_bytes())?;
            pop3.status()?;
            pop3.line.send(format!("{encoded}\r\n").as_bytes())?;
            pop3.status()?
        }
    };
    Ok([smtp, imap, pop3])
}

fn plain(authzid: &str, login: &str, password: &str) -> Vec<u8> {
    format!("{authzid}\0{login}\0{password}").into_bytes()
}

/// What a wrong password hears, everywhere the same.
fn is_denied(answers: &[String; 3]) -> bool {
    let [smtp, imap, pop3] = answers;
    smtp == "535 5.7.8 Error: authentication failed: authentication failure"
        && imap.ends_with("NO [AUTHENTICATIONFAILED] Login failed.")
        && pop3 == "-ERR [AUTH] Login failed."
}

/// A refusal of any kind: the mechanism failed, or its message was no message.
fn is_refused(answers: &[String; 3]) -> bool {
    let [smtp, imap, pop3] = answers;
    (smtp.starts_with("535 ") || smtp.starts_with("501 "))
        && (imap.contains("NO [AUTHENTICATIONFAILED]") || imap.contains("BAD "))
        && pop3.starts_with("-ERR")
}

/// A02: what is no message of PLAIN.
#[test]
fn broken_messages() -> Result<()> {
    site().run(|site| {
        let messages: [&[u8]; 6] = [
            b"",
            b"\0\0",
            b"u",
            b"\0u\0p\0x",
            b"\0alice@example.com\0",
            b"\0\0secret",
        ];
        for message in messages {
            let answers = answers(site, "PLAIN", message)?;
            ensure!(
                is_refused(&answers),
                "{:?}: {answers:?}",
                message.escape_ascii().to_string()
            );
        }
        // The same connection can still be used properly.
        let mut smtp = site.smtp("submissions")?;
        smtp.expect("AUTH PLAIN =", 535)?;
        smtp.login("alice@example.com", PASSWORD)
    })
}

/// A03: to act for somebody else, with one's own right password.
#[test]
fn somebody_elses_authorization() -> Result<()> {
    site().run(|site| {
        for authzid in ["bob@example.com", "boss", "alice@example.com.a.test", "root"] {
            let answers = answers(site, "PLAIN", &plain(authzid, "alice@example.com", PASSWORD))?;
            ensure!(is_denied(&answers), "{authzid}: {answers:?}");
        }
        // One's own is what it would be without.
        let answers = answers(
            site,
            "PLAIN",
            &plain("alice@example.com", "alice@example.com", PASSWORD),
        )?;
        ensure!(answers[0].starts_with("235 "), "{answers:?}");
        Ok(())
    })
}

/// A04: exchanges that are cancelled, and clients that go away inside one.
#[test]
fn ten_thousand_are_cancelled_and_ten_thousand_hang_up() -> Result<()> {
    const EACH: usize = 10_000;
    const THREADS: usize = 4;
    site()
        .set("general.login_trusted_networks", vec!["127.0.0.0/8".to_owned()])
        .set("imapd.login_timeout", "5m")
        .run(|site| {
            let endpoints = site.endpoints().clone();
            let crowd = |count: usize| -> Result<()> {
                let threads: Vec<_> = (0..THREADS)
                    .map(|_| {
                        let endpoints = endpoints.clone();
                        thread::spawn(move || -> Result<()> {
                            cancel(&endpoints, count / THREADS)?;
                            hang_up(&endpoints, count / THREADS)
                        })
                    })
                    .collect();
                for thread in threads {
                    thread
                        .join()
                        .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
                }
                Ok(())
            };
            // What the daemons need for themselves is there after some of it.
            crowd(EACH / 10)?;
            let before = memory(site)?;
            crowd(EACH)?;
            let after = memory(site)?;
            println!("resident before {before:?}, after {after:?}");
            for (daemon, before, after) in before.iter().zip(&after).map(|(b, a)| (b.0, b.1, a.1)) {
                ensure!(
                    after < before + (24 << 20),
                    "{daemon} grew from {before} to {after}"
                );
            }
            site.imap_as("alice@example.com", PASSWORD)?.logout()?;
            site.pop3_as("alice@example.com", PASSWORD)?.quit()
        })
}

fn cancel(endpoints: &Endpoints, count: usize) -> Result<()> {
    let mut imap = Imap::greet(endpoints.line("imap")?)?;
    for number in 0..count {
        // More a connection may not.
        if number > 0 && number % 100 == 0 {
            imap = Imap::greet(endpoints.line("imap")?)?;
        }
        imap.line.send(b"t AUTHENTICATE LOGIN\r\n")?;
        imap.response()?;
        imap.line.send(b"*\r\n")?;
        let answer = imap.response()?;
        ensure!(
            answer.starts_with(b"t BAD"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(())
}

fn hang_up(endpoints: &Endpoints, count: usize) -> Result<()> {
    for _ in 0..count {
        let mut pop3 = Pop3::greet(endpoints.line("pop3")?)?;
        pop3.line.send(b"AUTH LOGIN\r\n")?;
        pop3.status()?;
        pop3.line.close();
    }
    Ok(())
}

fn memory(site: &mut Site) -> Result<Vec<(&'static str, u64)>> {
    ["authd", "imapd", "pop3d"]
        .into_iter()
        .map(|name| Ok((name, site.daemon(name)?.resident_memory()?)))
        .collect()
}

/// A06: AUTH where it does not belong.
#[test]
fn auth_out_of_order() -> Result<()> {
    site().run(|site| {
        let mut smtp = site.smtp("submissions")?;
        smtp.login("alice@example.com", PASSWORD)?;
        let twice = smtp.auth_plain("bob@example.com", PASSWORD)?;
        ensure!(twice.code == 503, "AUTH twice: {}", twice.text());
        smtp.expect("MAIL FROM:<alice@example.com>", 250)?;
        let inside = smtp.auth_plain("alice@example.com", PASSWORD)?;
        ensure!(inside.code == 503, "AUTH inside a transaction: {}", inside.text());
        smtp.expect("RCPT TO:<bob@example.com>", 250)?;

        // Trusted without a login, and still not inside a transaction.
        let mut smtp = site.smtp("submissions")?;
        let reply = smtp.command("MAIL FROM:<alice@example.com>")?;
        ensure!(reply.code == 250, "{}", reply.text());
        let inside = smtp.auth_plain("alice@example.com", PASSWORD)?;
        ensure!(inside.code == 503, "AUTH inside a transaction: {}", inside.text());

        // A handshake that failed leaves nothing behind in which a password could be sent.
        let mut smtp = site.smtp("submission")?;
        let clear = smtp.auth_plain("alice@example.com", PASSWORD)?;
        ensure!(clear.code >= 500, "AUTH before STARTTLS: {}", clear.text());
        smtp.expect("STARTTLS", 220)?;
        smtp.line
            .send(b"AUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHNlY3JldA==\r\n")?;
        let alert = smtp.line.line();
        ensure!(
            !matches!(&alert, Ok(Some(line)) if line.starts_with(b"2")),
            "{alert:?}"
        );
        Ok(())
    })
}

/// Names that mean something to a database, a directory server or a template, but are nobody's.
const NAMES: [&str; 14] = [
    "u' OR '1'='1",
    "u' OR '1'='1@example.com",
    "alice@example.com' OR '1'='1",
    "alice@example.com'--",
    "*",
    "*@example.com",
    "%",
    "%@example.com",
    "alice)(uid=*",
    "%{pw}",
    "",
    "@example.com",
    "alice@",
    "alice@example.com@example.com",
];

/// What can be in no name: `marker` stands for what must never reach the database.
fn unspeakable() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "marker\nalice@example.com",
        "marker\ralice@example.com",
        "marker\talice@example.com",
        "marker\u{1b}[2Jalice@example.com",
        "marker\r\nINFO login of root@example.com",
        "marker\u{7f}@example.com",
    ]
    .map(|name| name.as_bytes().to_vec())
    .to_vec();
    names.push(b"marker\xff\xfe@example.com".to_vec());
    names.push(b"marker\xc0\xaf@example.com".to_vec());
    names.push([b"marker".as_slice(), &[b'x'; 9_000], b"@example.com"].concat());
    names
}

/// A07, A08: all of them are denied; what is no address is never asked about, the rest by one question with a bound value.
#[test]
fn hostile_names() -> Result<()> {
    Site::builder()
        .server_options(&["--general-log=1"])
        .set("authd.auth_failure_delay", "0s")
        .set("authd.auth_failure_delay_limit", "0s")
        .set("smtpd.smtpd_error_sleep_time", "0s")
        .set("authd.replica.enabled", false)
        .run(|site| {
            for name in NAMES {
                let answers = answers(site, "PLAIN", &plain("", name, PASSWORD))?;
                ensure!(is_refused(&answers), "{name:?}: {answers:?}");
            }
            // A quote inside an IMAP string is data too.
            let mut imap = site.imaps()?;
            let reply = imap.command("LOGIN \"alice@example.com' OR '1'='1\" \"x' OR '1'='1\"")?;
            ensure!(
                reply.tagged.starts_with("NO [AUTHENTICATIONFAILED]"),
                "{}",
                reply.tagged
            );
            for name in unspeakable() {
                let message = [b"\0".as_slice(), &name, b"\0", PASSWORD.as_bytes()].concat();
                let answers = answers(site, "PLAIN", &message)?;
                ensure!(
                    is_refused(&answers),
                    "{:?}: {answers:?}",
                    name.escape_ascii().to_string()
                );
            }
            questions_are_bound(site)?;
            logs_are_clean(site)
        })
}

/// What MariaDB wrote down of the questions.
fn questions_are_bound(site: &mut Site) -> Result<()> {
    let data = site.directory().join("state/database/mariadb/data");
    let data = if data.exists() {
        data
    } else {
        site.directory().join("state/mariadb/data")
    };
    let mut text = String::new();
    for entry in fs::read_dir(&data)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            text.push_str(&String::from_utf8_lossy(&fs::read(path)?));
        }
    }
    ensure!(
        text.contains("Prepare") && text.contains("Execute"),
        "no general log in {}",
        data.display()
    );
    ensure!(
        !text.contains("marker"),
        "a name that is none came to the database"
    );
    for line in text
        .lines()
        .filter(|line| line.contains("Prepare") || line.contains("Query"))
    {
        ensure!(!line.contains("OR '1'"), "a name stands in a statement: {line}");
    }
    // Each of the three protocols asked about an address of this domain once.
    let asked = text
        .lines()
        .filter(|line| {
            line.contains("Execute") && line.contains("FROM mailbox") || line.contains("FROM `mailbox`")
        })
        .filter(|line| line.contains("'%@example.com'"))
        .count();
    ensure!(asked <= 3, "%@example.com was asked about {asked} times");
    Ok(())
}

/// No control character of a client stands in a human log or breaks a line of the decision log.
fn logs_are_clean(site: &Site) -> Result<()> {
    let mut seen = BTreeSet::new();
    for directory in ["log", "events"] {
        for entry in fs::read_dir(site.directory().join(directory))? {
            let path = entry?.path();
            let bytes = fs::read(&path)?;
            ensure!(!bytes.contains(&0x1b), "{}: an escape character", path.display());
            let text = String::from_utf8(bytes).with_context(|| path.display().to_string())?;
            for line in text.lines() {
                ensure!(
                    !line.starts_with("INFO login of root"),
                    "{}: {line}",
                    path.display()
                );
                ensure!(
                    !line.starts_with("alice@example.com"),
                    "{}: {line}",
                    path.display()
                );
                if directory == "events" {
                    serde_json::from_str::<serde_json::Value>(line).with_context(|| line.to_owned())?;
                }
            }
            seen.insert(path);
        }
    }
    ensure!(seen.len() >= 6, "{seen:?}");
    Ok(())
}

/// A10: what stands in the password column is too expensive, broken or of no known form.
#[test]
fn hashes_that_cannot_be_checked() -> Result<()> {
    let long = "a".repeat(86);
    let columns = [
        "{FOO}x".to_owned(),
        "$argon2id$v=19$m=4194304,t=99,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA"
            .to_owned(),
        "$2y$31$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234".to_owned(),
        format!("$6$rounds=999999999$salt${long}"),
        "$6$cut".to_owned(),
        "$argon2id$v=19$m=65536,t=3".to_owned(),
    ];
    site().run(|site| {
        for column in &columns {
            site.sql(&format!(
                "UPDATE mailbox SET password = '{column}' WHERE username = 'alice@example.com'"
            ))?;
            let begin = Instant::now();
            let [smtp, imap, pop3] = answers(site, "PLAIN", &plain("", "alice@example.com", PASSWORD))?;
            ensure!(smtp.starts_with("454 4.7.0"), "{column}: {smtp}");
            ensure!(imap.contains("NO [UNAVAILABLE]"), "{column}: {imap}");
            ensure!(pop3.starts_with("-ERR [SYS/TEMP]"), "{column}: {pop3}");
            // Three logins with their handshakes; hashing one of these would take minutes.
            ensure!(
                begin.elapsed() < Duration::from_secs(20),
                "{column}: {:?}",
                begin.elapsed()
            );
        }
        let log = alert(site, "alice@example.com")?;
        for column in &columns {
            ensure!(
                !log.contains(column.as_str()),
                "a hash stands in the log: {column}"
            );
        }
        site.imap_as("bob@example.com", PASSWORD)?.logout()
    })
}

/// A11: unknown user, known user with a wrong password, and a mailbox that is switched off: the same words. (The time is
/// `cargo xtask bench timing`.)
#[test]
fn who_exists_is_not_told() -> Result<()> {
    site()
        .account("off@example.com")
        .sql("UPDATE mailbox SET active = 0 WHERE username = 'off@example.com';")
        .run(|site| {
            for login in [
                "alice@example.com",
                "nobody@example.com",
                "x@nowhere.test",
                "off@example.com",
            ] {
                let answers = answers(site, "PLAIN", &plain("", login, "wrong"))?;
                ensure!(is_denied(&answers), "{login}: {answers:?}");
            }
            let answers = answers(site, "PLAIN", &plain("", "off@example.com", PASSWORD))?;
            ensure!(is_denied(&answers), "right password, switched off: {answers:?}");
            Ok(())
        })
}

/// A12: a secret of which only a part is right is wrong, whichever part. That the comparison takes the same time for each is
/// a matter of `subtle` in crate sasl; here it is that no prefix is enough.
#[test]
fn a_part_of_a_secret_is_no_secret() -> Result<()> {
    const LONG: &str = "correct-horse-battery";
    site()
        .sql(&format!(
            "INSERT INTO mailbox (username, password, name, maildir, quota, domain, active, local_part) VALUES \
             ('long@example.com', '{{PLAIN}}{LONG}', 'n', 'example.com/long/', 0, 'example.com', 1, 'long');"
        ))
        .run(|site| {
            let mut tries: Vec<String> = (0..LONG.len()).map(|right| LONG[..right].to_owned()).collect();
            tries.extend((0..LONG.len()).map(|right| format!("{}{}", &LONG[..right], "x".repeat(LONG.len() - right))));
            tries.push(format!("{LONG}x"));
            for password in &tries {
                let mut smtp = site.smtp("submissions")?;
                let reply = smtp.auth_plain("long@example.com", password)?;
                ensure!(reply.code == 535 || password.is_empty(), "{password}: {}", reply.text());
            }
            site.endpoints().submit_as("long@example.com", LONG)?.quit()
        })
}

/// A16: rows that name a place which is nobody's mailbox.
#[test]
fn rows_that_lead_elsewhere() -> Result<()> {
    site().set("authd.address_cache_time", "0s").run(|site| {
        let mail = site.directory().join("mail");
        let outside = site.directory().join("outside");
        fs::create_dir_all(outside.join("new"))?;
        fs::create_dir_all(mail.join("example.com"))?;
        std::os::unix::fs::symlink(&outside, mail.join("example.com/link"))?;
        let (uid, gid) = site.ids();
        for path in [mail.join("example.com"), outside.clone(), outside.join("new")] {
            std::os::unix::fs::chown(&path, Some(uid), Some(gid))?;
        }
        for maildir in [
            "/",
            "/etc/",
            "../../outside/",
            "example.com/../../outside/",
            "",
            ".",
            "example.com/link/",
        ] {
            site.sql(&format!(
                "UPDATE mailbox SET maildir = '{maildir}' WHERE username = 'alice@example.com'"
            ))?;
            let mut imap = site.imaps()?;
            let reply = imap.command(&format!("LOGIN alice@example.com {PASSWORD}"))?;
            ensure!(
                reply.tagged.starts_with("NO [UNAVAILABLE]"),
                "{maildir:?}: {}",
                reply.tagged
            );
            let mut pop3 = site.pop3s()?;
            pop3.ok("USER alice@example.com")?;
            let reply = pop3.command(&format!("PASS {PASSWORD}"))?;
            ensure!(reply.starts_with("-ERR [SYS/TEMP]"), "{maildir:?}: {reply}");
            let mut lmtp = site.lmtp()?;
            lmtp.expect("MAIL FROM:<out@a.test>", 250)?;
            let mut reply = lmtp.command("RCPT TO:<alice@example.com>")?;
            if reply.code == 250 {
                lmtp.expect("DATA", 354)?;
                reply = lmtp.command("Subject: x\r\n\r\nx\r\n.")?;
            }
            ensure!((400..500).contains(&reply.code), "{maildir:?}: {}", reply.text());
        }
        let written = fs::read_dir(outside.join("new"))?.count() + fs::read_dir(&outside)?.count();
        ensure!(written == 1, "something was written outside");
        alert(site, "leads out of virtual_mailbox_base")?;
        Ok(())
    })
}

/// A connection of a client at this address.
fn from(ip: IpAddr) -> LoginContext {
    LoginContext {
        service: "imap".into(),
        peer: SocketAddr::new(ip, 4000),
        local: SocketAddr::from(([127, 0, 0, 1], 993)),
        session: SessionId::new(1, 1),
        tls: Some(TlsState {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            tls_exporter: vec![],
            tls_server_end_point: vec![],
            client_names: vec![],
        }),
        trusted: false,
    }
}

/// One login at authd, as a daemon would have it for a client at this address.
async fn guess(authd: &Client, ip: IpAddr, login: &str, password: &str) -> LoginStep {
    let message = Secret::new(format!("\0{login}\0{password}"));
    authd.login(&from(ip), "PLAIN", Some(message)).await.0
}

fn denied_for(step: &LoginStep) -> Result<u64> {
    match step {
        LoginStep::Denied { delay, .. } => Ok(delay.as_secs()),
        step => anyhow::bail!("{step:?}"),
    }
}

/// A18: many guesses, from one address, from one network, at many users.
#[test]
fn guesses_are_slowed_down() -> Result<()> {
    const GUESSES: u32 = 10_000;
    Site::builder().only(&["authd"]).run(|site| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let socket = site.directory().join("run/authd/imapd/sock");
        runtime.block_on(async {
            let authd = Client::connect(socket);
            let home: IpAddr = "192.0.2.7".parse()?;
            // The owner was here before.
            let step = guess(&authd, home, "alice@example.com", PASSWORD).await;
            ensure!(matches!(step, LoginStep::Success(_)), "{step:?}");

            // One address: the delay grows to 16 s and stays there.
            let mut delays = Vec::new();
            let one: IpAddr = "198.51.100.1".parse()?;
            for _ in 0..6 {
                delays.push(denied_for(&guess(&authd, one, "bob@example.com", "wrong").await)?);
            }
            ensure!(delays == [2, 4, 8, 16, 16, 16], "{delays:?}");

            // Each user once, from an address that is new each time but of one /64; then everybody from one address.
            for (round, known) in [(0, "2001:db8:1:1::"), (1, "198.51.100.2")] {
                let begin: IpAddr = known.parse()?;
                let most = Arc::new(AtomicUsize::new(0));
                let mut tasks = tokio::task::JoinSet::new();
                for part in 0..8 {
                    let (authd, most) = (authd.clone(), Arc::clone(&most));
                    tasks.spawn(async move {
                        for number in (part..GUESSES).step_by(8) {
                            let ip = match begin {
                                IpAddr::V6(net) => {
                                    Ipv6Addr::from_bits(net.to_bits() + u128::from(number)).into()
                                }
                                one => one,
                            };
                            let login = format!("guess{round}x{number}@example.com");
                            let delay = denied_for(&guess(&authd, ip, &login, "wrong").await)?;
                            if number > 100 {
                                most.fetch_add(usize::from(delay < 16), Ordering::Relaxed);
                            }
                        }
                        anyhow::Ok(())
                    });
                }
                while let Some(task) = tasks.join_next().await {
                    task??;
                }
                let quick = most.load(Ordering::Relaxed);
                ensure!(quick == 0, "{known}: {quick} guesses did not wait 16 s");
            }

            // Everybody guesses at alice, from everywhere. She waits nowhere where she has been before.
            for number in 0..200u32 {
                let ip = IpAddr::from((0xcb00_7100 + number).to_be_bytes());
                guess(&authd, ip, "alice@example.com", "wrong").await;
            }
            let step = guess(&authd, home, "alice@example.com", PASSWORD).await;
            ensure!(
                matches!(step, LoginStep::Success(_)),
                "locked out at home: {step:?}"
            );
            let wrong = denied_for(&guess(&authd, home, "alice@example.com", "typing error").await)?;
            ensure!(wrong <= 2, "a typing error at home waits {wrong} s");
            Ok(())
        })
    })
}

/// A18: after three failures the connection is closed.
#[test]
fn three_failures_close() -> Result<()> {
    site().run(|site| {
        let mut smtp: Smtp = site.smtp("submissions")?;
        for _ in 0..2 {
            let reply = smtp.auth_plain("alice@example.com", "wrong")?;
            ensure!(reply.code == 535, "{}", reply.text());
        }
        let last = smtp.auth_plain("alice@example.com", "wrong")?;
        ensure!(matches!(last.code, 535 | 421), "{}", last.text());
        while let Some(reply) = smtp.reply_or_end()? {
            ensure!(reply.code == 421, "{}", reply.text());
        }
        let mut imap = site.imaps()?;
        for _ in 0..3 {
            let tagged = imap.command("LOGIN alice@example.com wrong")?.tagged;
            ensure!(tagged.starts_with("NO [AUTHENTICATIONFAILED]"), "{tagged}");
        }
        let bye = imap.response()?;
        ensure!(bye.starts_with(b"* BYE"), "{}", String::from_utf8_lossy(&bye));
        let mut pop3 = site.pop3s()?;
        for _ in 0..3 {
            pop3.ok("USER alice@example.com")?;
            let reply = pop3.command("PASS wrong")?;
            ensure!(reply == "-ERR [AUTH] Login failed.", "{reply}");
        }
        ensure!(pop3.line.line()?.is_none(), "POP3 goes on after three failures");
        Ok(())
    })
}

/// A20: who reaches authd's sockets. (Methods of other roles: crates/authd/tests/sockets.rs.)
#[test]
fn sockets_are_for_their_role() -> Result<()> {
    Site::builder().only(&["authd"]).run(|site| {
        let (uid, _) = site.ids();
        for role in ["smtpd", "qmgr", "deliver", "imapd", "pop3d", "admin"] {
            let directory = site.directory().join("run/authd").join(role);
            let mode = fs::metadata(&directory)?;
            ensure!(
                mode.permissions().mode() & 0o777 == 0o710 && mode.uid() == uid,
                "{role}: {:o} of {}",
                mode.permissions().mode(),
                mode.uid()
            );
            if nix::unistd::geteuid().is_root() {
                let said = connect_as_nobody(&directory.join("sock"))?;
                ensure!(said.contains("Permission denied"), "{role}: {said}");
            }
        }
        Ok(())
    })
}

/// What curl says that tries a socket as `nobody`.
fn connect_as_nobody(socket: &Path) -> Result<String> {
    use std::os::unix::process::CommandExt as _;
    let output = Command::new("curl")
        .args(["--verbose", "--max-time", "5", "--unix-socket"])
        .arg(socket)
        .arg("http://authd.invalid/")
        .uid(65_534)
        .gid(65_534)
        .current_dir("/")
        .output()
        .context("run curl")?;
    ensure!(!output.status.success(), "nobody was served");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Section 3 of robustness.md: ten times as many logins as can be hashed. Mail goes on meanwhile, and five seconds after
/// the end somebody with the right password is let in: whose account was not guessed at from anywhere, and whose was
/// from where he logged in before. (With figures: `cargo xtask bench scale`.)
#[test]
fn a_flood_of_logins() -> Result<()> {
    const LASTING: Duration = Duration::from_secs(3);
    Site::builder().only(&["authd", "deliver", "smtpd"]).run(|site| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let run = site.directory().join("run/authd");
        let password = Secret::new(PASSWORD);
        runtime.block_on(async {
            // As new passwords are stored: dear.
            let admin = Client::connect(run.join("admin/sock"));
            for user in ["alice@example.com", "bob@example.com"] {
                admin.set_password(&user.parse()?, password.clone()).await?;
            }
            anyhow::Ok(())
        })?;
        let imapd = runtime.block_on(async { Client::connect(run.join("imapd/sock")) });
        let home: IpAddr = "192.0.2.7".parse()?;
        let elsewhere: IpAddr = "192.0.2.99".parse()?;
        let before = runtime.block_on(guess(&imapd, home, "alice@example.com", PASSWORD));
        ensure!(matches!(before, LoginStep::Success(_)), "{before:?}");
        let stop = Arc::new(AtomicBool::new(false));
        let mail = mail_meanwhile(site.endpoints(), &stop);
        let sent = runtime.block_on(flood(&imapd, LASTING));
        let end = Instant::now();
        let back = runtime.block_on(async {
            for (user, from) in [("bob@example.com", elsewhere), ("alice@example.com", home)] {
                loop {
                    match guess(&imapd, from, user, PASSWORD).await {
                        LoginStep::Success(_) => break,
                        LoginStep::TemporaryFailure { .. } if end.elapsed() < Duration::from_secs(20) => {}
                        step => anyhow::bail!("{user}: {step:?}"),
                    }
                }
            }
            anyhow::Ok(end.elapsed())
        })?;
        stop.store(true, Ordering::Relaxed);
        let accepted = mail.join().map_err(|_| anyhow::anyhow!("the mail panicked"))??;
        println!("{sent} logins in {LASTING:?}, back after {back:?}, {accepted} messages meanwhile");
        ensure!(back < Duration::from_secs(5), "{back:?} after the end");
        ensure!(accepted > 0, "no mail during the flood");
        Ok(())
    })
}

/// Wrong passwords, of alice and of 500 who do not exist, 400 per second, whether they are answered or not.
async fn flood(authd: &Client, lasting: Duration) -> u32 {
    let begin = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(25));
    let mut sent: u32 = 0;
    while begin.elapsed() < lasting {
        tick.tick().await;
        for _ in 0..10 {
            sent += 1;
            let authd = authd.clone();
            tokio::spawn(async move {
                let ip = IpAddr::from((0x0a00_0000 + sent).to_be_bytes());
                let login = match sent % 2 {
                    0 => "alice@example.com".to_owned(),
                    _ => format!("user{}@example.com", sent % 1000),
                };
                guess(&authd, ip, &login, "wrong").await
            });
        }
    }
    sent
}

/// Sends mail to a known recipient until the stop; each message has to be accepted.
fn mail_meanwhile(endpoints: &Endpoints, stop: &Arc<AtomicBool>) -> thread::JoinHandle<Result<u32>> {
    let (endpoints, stop) = (endpoints.clone(), Arc::clone(stop));
    thread::spawn(move || {
        let mut accepted = 0;
        let mut smtp = endpoints.smtp("mx")?;
        while !stop.load(Ordering::Relaxed) {
            smtp.send("out@a.test", &["bob@example.com"], "Subject: x\r\n\r\nx\r\n")?;
            accepted += 1;
        }
        Ok(accepted)
    })
}

/// The log of authd, once it says this: it is written behind.
fn alert(site: &mut Site, words: &str) -> Result<String> {
    let path = site.daemon("authd")?.log_file();
    wait::until(&format!("{words} in the log of authd"), wait::LONG, || {
        let log = fs::read_to_string(path)?;
        Ok(log.contains(words).then_some(log))
    })
}
