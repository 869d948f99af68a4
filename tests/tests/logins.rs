//! Logins through the real daemons: what a row says holds in every protocol and from the next login on, and what
//! authd remembers of logins outlives it.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::Site;
use tests::site::{PASSWORD, SiteBuilder};

/// alice of every site.
const ALICE: &str = "alice@example.com";
/// bob of every site.
const BOB: &str = "bob@example.com";
/// `correct horse` as crypt(3) MD5.
const HASHED: &str = "$1$ab$.ThsTrbyIbEahEdE8LNwj1";

/// A site whose wrong passwords cost a test no time, and whose loopback is no attacker.
fn builder() -> SiteBuilder {
    Site::builder()
        .set("authd.auth_failure_delay", "0s")
        .set("authd.auth_failure_delay_limit", "0s")
        .set("imapd.client_auth_rate_limit", 1_000_000)
        .set("pop3d.client_auth_rate_limit", 1_000_000)
        .set("smtpd.smtpd_client_auth_rate_limit", 1_000_000)
}

/// Which of SMTP, IMAP and POP3 let this login in.
fn doors(site: &Site, login: &str, password: &str) -> Result<[bool; 3]> {
    let mut smtp = site.endpoints().smtp("submission")?;
    smtp.start_tls(&site.endpoints().tls)?;
    let code = smtp.auth_plain(login, password)?.code;
    ensure!(code == 235 || code == 535, "AUTH: {code}");
    let mut imap = site.endpoints().imaps()?;
    let imap = imap.command(&format!("LOGIN {login} \"{password}\""))?.is_ok();
    let mut pop3 = site.endpoints().pop3s()?;
    pop3.command(&format!("USER {login}"))?;
    let pop3 = pop3.command(&format!("PASS {password}"))?.starts_with("+OK");
    Ok([code == 235, imap, pop3])
}

fn open(site: &Site, login: &str, password: &str, expected: [bool; 3]) -> Result<()> {
    let doors = doors(site, login, password)?;
    ensure!(doors == expected, "{login}: SMTP, IMAP, POP3: {doors:?}");
    Ok(())
}

const ALL: [bool; 3] = [true; 3];
const NONE: [bool; 3] = [false; 3];

#[test]
fn a_change_of_the_row_holds_from_the_next_login_on() -> Result<()> {
    builder().run(|site| {
        open(site, ALICE, PASSWORD, ALL)?;
        // As a panel would, behind authd's back.
        site.sql("UPDATE mailbox SET password = '{PLAIN}other' WHERE username = 'alice@example.com';")?;
        open(site, ALICE, PASSWORD, NONE)?;
        open(site, ALICE, "other", ALL)?;
        site.sql("UPDATE mailbox SET smtp_active = 0 WHERE username = 'alice@example.com';")?;
        open(site, ALICE, "other", [false, true, true])?;
        site.sql(
            "INSERT INTO mailbox_app_password (username, description, password_hash) \
             VALUES ('bob@example.com', 'phone', '{PLAIN}of-the-phone');",
        )?;
        open(site, BOB, "of-the-phone", ALL)?;
        open(site, BOB, PASSWORD, ALL)?;
        site.events().wait("the app password in the log", |event| {
            event["row"] == "app password 1"
        })?;
        site.sql("UPDATE mailbox SET active = 0 WHERE username = 'bob@example.com';")?;
        open(site, BOB, "of-the-phone", NONE)?;
        site.sql("UPDATE mailbox SET active = 1 WHERE username = 'bob@example.com';")?;
        site.sql("UPDATE domain SET active = 0;")?;
        open(site, BOB, PASSWORD, NONE)?;
        site.sql("UPDATE domain SET active = 1, password_expiry = 30;")?;
        site.sql("UPDATE mailbox SET password_expiry = '2001-01-01';")?;
        open(site, BOB, PASSWORD, ALL)?;
        site.set("authd.password_expiry", "enforce")?;
        site.set("authd.default_realm", "example.com")?;
        site.reload("authd")?;
        open(site, BOB, PASSWORD, NONE)?;
        site.sql("UPDATE domain SET password_expiry = 0;")?;
        open(site, "bob", PASSWORD, ALL)
    })
}

#[test]
fn keys_and_better_hashes_come_with_a_login() -> Result<()> {
    builder()
        .set("authd.store_scram_keys", true)
        .set("authd.rehash", "argon2id")
        .run(|site| {
            site.sql(&format!("UPDATE mailbox SET password = '{HASHED}';"))?;
            let scheme = |site: &Site| -> Result<String> {
                let explained = explain(site, &["--mechanism", "SCRAM-SHA-256"])?;
                Ok(answer(&explained, "mailbox", "stored as"))
            };
            ensure!(scheme(site)?.contains("MD5-CRYPT"), "{}", scheme(site)?);
            ensure!(scram(site, "correct horse")?.starts_with("NO"));
            // A session that is open meanwhile goes on.
            let mut imap = site.endpoints().imap_as(ALICE, "correct horse")?;
            site.events()
                .wait("a better hash", |event| event["event"] == "password_rehashed")?;
            site.events()
                .wait("keys for SCRAM", |event| event["event"] == "scram_keys_stored")?;
            ensure!(scheme(site)?.contains("ARGON2"), "{}", scheme(site)?);
            let said = scram(site, "correct horse")?;
            ensure!(said.starts_with("OK"), "{said}");
            let said = scram(site, "wrong")?;
            ensure!(said.starts_with("NO"), "{said}");
            imap.ok("NOOP")?;
            let usage = site.mailctl_json(&["auth", "mechanisms"])?;
            let mut used: Vec<&str> = rows(&usage).filter_map(|row| row["mechanism"].as_str()).collect();
            used.sort_unstable();
            ensure!(used == ["PLAIN", "SCRAM-SHA-256"], "{usage}");
            // With the next password they are void.
            site.sql("UPDATE mailbox SET password = '{MD5-CRYPT}$1$ab$.ThsTrbyIbEahEdE8LNwj1';")?;
            ensure!(scram(site, "correct horse")?.starts_with("NO"));
            Ok(())
        })
}

/// Logs alice in by SCRAM-SHA-256 with Python's imaplib: what the server says at the end.
fn scram(site: &Site, password: &str) -> Result<String> {
    let script = site.directory().join("scram.py");
    fs::write(&script, SCRAM)?;
    let endpoints = site.endpoints();
    let output = Command::new("python3")
        .arg(&script)
        .arg(endpoints.address.to_string())
        .arg(endpoints.ports.imaps.to_string())
        .arg(&endpoints.ca_file)
        .args([ALICE, password])
        .output()
        .context("python3")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// RFC 5802 as a client, over Python's own hashes.
const SCRAM: &str = r#"
import base64, hashlib, hmac, imaplib, ssl, sys
host, port, ca, user, password = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.check_hostname = False
imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=context)
state = {}
def answer(challenge):
    if "first" not in state:
        state["first"] = f"n={user},r=rOprNGfwEbeRWgbNEkqO"
        return "n,," + state["first"]
    server = challenge.decode()
    if server.startswith("v="):
        assert base64.b64decode(server[2:]) == state["server"], "the server does not know the password"
        return ""
    fields = dict(part.split("=", 1) for part in server.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    sign = lambda key, text: hmac.new(key, text, "sha256").digest()
    client = sign(salted, b"Client Key")
    bare = "c=biws,r=" + fields["r"]
    message = ",".join([state["first"], server, bare]).encode()
    signature = sign(hashlib.sha256(client).digest(), message)
    state["server"] = sign(sign(salted, b"Server Key"), message)
    proof = bytes(a ^ b for a, b in zip(client, signature))
    return bare + ",p=" + base64.b64encode(proof).decode()
try:
    print(imap.authenticate("SCRAM-SHA-256", answer)[0])
except imaplib.IMAP4.error as error:
    print("NO", error)
"#;

fn explain(site: &Site, more: &[&str]) -> Result<Value> {
    let mut arguments = vec!["--json", "explain", "login", ALICE];
    arguments.extend(more);
    let output = site.mailctl_output(&arguments)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).with_context(|| text)
}

/// The answer to a question that holds these words.
fn answer(explained: &Value, question: &str, words: &str) -> String {
    rows(&explained["questions"])
        .filter(|row| row["question"] == question)
        .filter_map(|row| row["answer"].as_str())
        .find(|answer| answer.contains(words))
        .unwrap_or_default()
        .to_owned()
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
fn failures_are_the_same_for_all_daemons_and_outlive_authd() -> Result<()> {
    Site::builder()
        .set("authd.auth_failure_delay", "100ms")
        .set("authd.auth_failure_delay_limit", "800ms")
        .run(|site| {
            ensure!(doors(site, ALICE, "wrong")? == NONE);
            let failures = site.mailctl_json(&["auth", "failures"])?;
            let of_alice = rows(&failures)
                .find(|row| row["account"] == ALICE && row["network"].is_null())
                .context("no failures of alice")?;
            ensure!(of_alice["count"] == 3 && of_alice["delay"] == 0.8, "{failures}");
            let text = site.mailctl(&["auth", "failures"])?;
            ensure!(text.contains(ALICE) && text.contains("127.0.0.1"), "{text}");
            // A read comes after the writes that were queued before it: not even a crash loses them now.
            site.mailctl(&["auth", "mechanisms"])?;
            site.kill("authd")?;
            site.start("authd")?;
            site.wait_ready("authd")?;
            let failures = site.mailctl_json(&["auth", "failures"])?;
            ensure!(
                rows(&failures).any(|row| row["account"] == ALICE && row["count"] == 3),
                "{failures}"
            );
            site.mailctl(&["auth", "unban", "127.0.0.1"])?;
            site.mailctl(&["auth", "unban", ALICE])?;
            ensure!(site.mailctl_json(&["auth", "failures"])? == Value::Array(Vec::new()));
            let nothing = site.mailctl_output(&["auth", "unban", "192.0.2.1"])?;
            ensure!(nothing.status.code() == Some(66), "{nothing:?}");
            Ok(())
        })
}

/// What `mailctl auth` says of it, and makes authd forget.
#[test]
fn the_reports_of_logins() -> Result<()> {
    builder().run(|site| {
        ensure!(
            site.mailctl(&["auth", "failures"])?
                .contains("no failed logins within 15 minutes")
        );
        ensure!(site.mailctl(&["auth", "mechanisms"])?.contains("nobody"));
        open(site, ALICE, PASSWORD, ALL)?;
        open(site, ALICE, PASSWORD, ALL)?;
        open(site, BOB, "wrong", NONE)?;

        let usage = site.mailctl_json(&["auth", "mechanisms"])?;
        for service in ["smtp", "imap", "pop3"] {
            let row = rows(&usage)
                .find(|row| row["service"] == service)
                .with_context(|| format!("no {service}: {usage}"))?;
            ensure!(row["account"] == ALICE && row["mechanism"] == "PLAIN", "{row}");
            ensure!(row["count"] == 2 && row["weak"] == true, "{row}");
        }
        ensure!(rows(&usage).count() == 3, "{usage}");
        ensure!(usage == site.mailctl_json(&["auth", "mechanisms", "--weak"])?);
        let text = site.mailctl(&["auth", "mechanisms"])?;
        ensure!(text.contains(ALICE) && text.contains("pop3"), "{text}");

        let all = site.mailctl_json(&["auth", "failures"])?;
        let of = |account: bool, network: bool| {
            rows(&all)
                .filter(|row| row["account"].is_null() != account && row["network"].is_null() != network)
                .map(|row| row["count"].clone())
                .collect::<Vec<_>>()
        };
        // The account, the address, and the account from the address.
        ensure!(
            of(true, false) == [3] && of(false, true) == [3] && of(true, true) == [3],
            "{all}"
        );
        let one = site.mailctl_json(&["auth", "failures", "--limit", "1"])?;
        ensure!(rows(&one).count() == 1, "{one}");
        let text = site.mailctl(&["auth", "failures"])?;
        ensure!(text.contains(BOB) && text.contains("anywhere"), "{text}");

        let forgotten = site.mailctl_json(&["auth", "unban", "127.0.0.0/8"])?;
        ensure!(
            forgotten["target"] == "127.0.0.0/8" && forgotten["forgotten"] == 2,
            "{forgotten}"
        );
        let rest = site.mailctl_json(&["auth", "failures"])?;
        ensure!(rows(&rest).count() == 1 && rest[0]["account"] == BOB, "{rest}");
        let text = site.mailctl(&["auth", "unban", "BOB@example.com"])?;
        ensure!(text.contains("1 entry forgotten"), "{text}");
        ensure!(site.mailctl_json(&["auth", "failures"])? == Value::Array(Vec::new()));
        Ok(())
    })
}

/// robustness.md A24: a canary as password, right and wrong, in every protocol; then the logs are searched.
#[test]
fn no_password_in_any_log() -> Result<()> {
    builder()
        .set("authd.mechanisms", vec!["PLAIN", "LOGIN", "CRAM-MD5"])
        .run(|site| {
            site.sql(
                "UPDATE mailbox SET password = '{PLAIN}canary-right' WHERE username = 'alice@example.com';",
            )?;
            open(site, ALICE, "canary-right", ALL)?;
            open(site, ALICE, "canary-wrong", NONE)?;
            open(site, "nobody@example.com", "canary-nobody", NONE)?;
            let mut smtp = site.endpoints().smtp("submission")?;
            smtp.start_tls(&site.endpoints().tls)?;
            for line in [
                "AUTH PLAIN canary-no-base64!",
                "AUTH CRAM-MD5 canary-initial",
                "AUTH X-canary",
            ] {
                smtp.command(line)?;
            }
            // Nor does a crash tell.
            site.kill("authd")?;
            site.start("authd")?;
            site.wait_ready("authd")?;
            site.sql("UPDATE mailbox SET password = '{canary}hash';")?;
            let mut imap = site.endpoints().imaps()?;
            imap.command(&format!("LOGIN {ALICE} canary-broken"))?;
            let explained = site.mailctl_output(&["explain", "login", ALICE])?;
            let status = site.mailctl(&["auth", "failures"])?;
            let mut told = site.logs();
            told.push_str(&status);
            told.push_str(&String::from_utf8_lossy(&explained.stdout));
            for event in site.events().all()? {
                told.push_str(&event.to_string());
            }
            ensure!(told.contains("login_denied") && told.contains("login_granted"));
            for line in told.lines() {
                let harmless = line.replace("X-canary", "").replace("X-CANARY", "");
                ensure!(!harmless.contains("canary"), "{line}");
            }
            Ok(())
        })
}
