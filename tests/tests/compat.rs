//! The sockets of saslauthd and Courier's authdaemond, asked by Debian's own clients: testsaslauthd, authtest and
//! authenumerate; what those cannot say is said by hand.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::unistd::geteuid;
use tests::mariadb::OUTAGE_LIMIT;
use tests::packages::{self, AUTHTEST, SASL_SERVER, TESTSASLAUTHD};
use tests::site::{PASSWORD, SiteBuilder};
use tests::{Site, wait};

const ALICE: &str = "alice@example.com";

/// Where the sockets lie, which have to have short names.
struct Places {
    directory: tempfile::TempDir,
}

impl Places {
    fn new() -> Result<Self> {
        packages::ensure(&[TESTSASLAUTHD, AUTHTEST])?;
        let directory = tempfile::Builder::new().prefix("compat-").tempdir()?;
        // authd runs under an account of its own and makes directories here.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777))?;
        Ok(Self { directory })
    }

    fn mux(&self) -> PathBuf {
        self.directory.path().join("saslauthd/mux")
    }

    fn authdaemon(&self) -> PathBuf {
        self.directory.path().join("authdaemon/socket")
    }

    /// A site that serves both.
    fn site(&self) -> SiteBuilder {
        Site::builder()
            .set("authd.compat.saslauthd_socket", self.mux().display().to_string())
            .set(
                "authd.compat.authdaemon_socket",
                self.authdaemon().display().to_string(),
            )
            .set("authd.auth_failure_delay", "0s")
    }

    fn testsaslauthd(&self, arguments: &[&str]) -> Result<Answer> {
        let program = packages::find(TESTSASLAUTHD.programs).context("no testsaslauthd")?;
        let output = Command::new(program)
            .arg("-f")
            .arg(self.mux())
            .args(arguments)
            .output()?;
        Ok(Answer::of(&output))
    }

    /// A program of Courier's, which knows one path only: it gets a `/run` of its own, in which that leads to ours.
    fn courier(&self, program: &str, arguments: &[&str]) -> Result<Answer> {
        let script = "mount -t tmpfs none /run && mkdir -p /run/courier/authdaemon && \
                      ln -s \"$0\" /run/courier/authdaemon/socket && exec \"$@\"";
        let program = packages::find(&[program]).context("no such program of Courier's")?;
        let namespace = if geteuid().is_root() { "-m" } else { "-rm" };
        let output = Command::new("unshare")
            .args([namespace, "sh", "-c", script])
            .arg(self.authdaemon())
            .arg(program)
            .args(arguments)
            .output()?;
        Ok(Answer::of(&output))
    }

    /// Says something to a socket, in these pieces, and reads until it closes.
    fn ask(path: &Path, pieces: &[&[u8]]) -> Result<Vec<u8>> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(wait::LONG))?;
        for piece in pieces {
            stream.write_all(piece)?;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn ask_authdaemon(&self, request: &str) -> Result<String> {
        Ok(String::from_utf8(Self::ask(
            &self.authdaemon(),
            &[request.as_bytes()],
        )?)?)
    }

    /// AUTH with this payload.
    fn auth(&self, payload: &str) -> Result<String> {
        self.ask_authdaemon(&format!(
            "TCPREMOTEIP=192.0.2.7\nAUTH {}\n{payload}",
            payload.len()
        ))
    }
}

/// What a program said, both outputs together, and its exit status.
#[derive(Debug)]
struct Answer {
    status: Option<i32>,
    text: String,
}

impl Answer {
    fn of(output: &Output) -> Self {
        let text = [&output.stdout[..], &output.stderr].concat();
        Self {
            status: output.status.code(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    fn expect(&self, status: i32, text: &str) -> Result<()> {
        ensure!(
            self.status == Some(status) && self.text.contains(text),
            "expected {status} and {text:?}: {self:?}"
        );
        Ok(())
    }
}

/// The strings of a request to saslauthd.
fn strings(strings: &[&str]) -> Vec<u8> {
    strings
        .iter()
        .flat_map(|text| [&[0, u8::try_from(text.len()).unwrap_or(0)], text.as_bytes()].concat())
        .collect()
}

#[test]
fn testsaslauthd_gets_its_answers() -> Result<()> {
    let places = Places::new()?;
    places
        .site()
        .only(&["authd"])
        .set("authd.compat.saslauthd_mode", "0600")
        .run(|site| {
            let ask = |arguments: &[&str]| places.testsaslauthd(arguments);
            ask(&["-u", ALICE, "-p", PASSWORD])?.expect(0, "0: OK \"Success.\"")?;
            ask(&["-u", "Alice@Example.COM", "-p", PASSWORD, "-s", "smtp"])?.expect(0, "0: OK")?;
            ask(&["-u", "alice", "-r", "example.com", "-p", PASSWORD, "-s", "smtp"])?.expect(0, "0: OK")?;
            let no = "0: NO \"authentication failed\"";
            for arguments in [
                &["-u", ALICE, "-p", "wrong"][..],
                &["-u", "nobody@example.com", "-p", PASSWORD],
                &["-u", "alice", "-p", PASSWORD],
                &["-u", "alice", "-r", "example.org", "-p", PASSWORD],
                &["-u", "", "-p", PASSWORD],
                &["-u", ALICE, "-p", ""],
            ] {
                ask(arguments)?
                    .expect(255, no)
                    .with_context(|| format!("{arguments:?}"))?;
            }
            let repeated = ask(&["-u", ALICE, "-p", PASSWORD, "-R", "50"])?;
            ensure!(
                repeated.text.matches("OK \"Success.\"").count() == 50,
                "{repeated:?}"
            );
            let mode = std::fs::metadata(places.mux())?.mode() & 0o777;
            ensure!(mode == 0o600, "the socket has mode {mode:o}");
            // A disabled mailbox is refused with its right password.
            site.sql("UPDATE mailbox SET active = 0 WHERE username = 'bob@example.com'")?;
            ask(&["-u", "bob@example.com", "-p", PASSWORD])?.expect(255, no)?;
            audit(site)
        })
}

/// Cyrus libsasl as other servers use it: PLAIN, checked by saslauthd's socket.
#[test]
fn cyrus_libsasl_checks_passwords_by_us() -> Result<()> {
    let places = Places::new()?;
    packages::ensure(&[SASL_SERVER])?;
    let mux = places.mux();
    let settings = format!(
        "pwcheck_method: saslauthd\nsaslauthd_path: {}\nmech_list: PLAIN\n",
        mux.display()
    );
    std::fs::write(places.directory.path().join("sample.conf"), settings)?;
    let login = |login: &str, password: &str| -> Result<String> {
        let program = packages::find(SASL_SERVER.programs).context("no sasl-sample-server")?;
        let mut server = Command::new(program)
            .args(["-s", "smtp", "-m", "PLAIN"])
            .env("SASL_CONF_PATH", places.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let response = STANDARD.encode(format!("PLAIN\0\0{login}\0{password}"));
        let mut input = server.stdin.take().context("no input")?;
        writeln!(input, "C: {response}")?;
        drop(input);
        Ok(Answer::of(&server.wait_with_output()?).text)
    };
    places.site().only(&["authd"]).run(|_| {
        let right = login(ALICE, PASSWORD)?;
        ensure!(right.contains(&format!("Username: {ALICE}")), "{right}");
        for (user, password) in [(ALICE, "wrong"), ("nobody@example.com", PASSWORD)] {
            let wrong = login(user, password)?;
            ensure!(
                !wrong.contains("Username: ") && wrong.contains("authentication failure"),
                "{wrong}"
            );
        }
        Ok(())
    })
}

/// authd's decision log, once it says what it has to: it is written behind.
fn told(site: &Site, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let path = site.directory().join("events/authd.jsonl");
    tests::wait::until("the decision log", tests::wait::LONG, || {
        let log = std::fs::read_to_string(&path)?;
        Ok(wanted(&log).then_some(log))
    })
}

/// What came by the socket stands in the decision log, without the passwords.
fn audit(site: &Site) -> Result<()> {
    let log = told(site, |log| {
        log.contains("saslauthd") && log.contains("nobody@example.com")
    })?;
    ensure!(
        !log.contains("\"wrong\"") && !log.contains(&format!("\"{PASSWORD}\"")),
        "{log}"
    );
    Ok(())
}

#[test]
fn saslauthd_by_hand() -> Result<()> {
    let places = Places::new()?;
    places.site().only(&["authd"]).run(|site| {
        let four = strings(&[ALICE, PASSWORD, "smtp", ""]);
        let five = [four.clone(), strings(&["192.0.2.9;4711"])].concat();
        for request in [&four, &five] {
            ensure!(Places::ask(&places.mux(), &[request])? == b"\0\x02OK", "whole");
            for cut in [1, 10, request.len() - 1] {
                let (first, second) = request.split_at(cut);
                ensure!(
                    Places::ask(&places.mux(), &[first, second])? == b"\0\x02OK",
                    "cut at {cut}"
                );
            }
        }
        let wrong = [strings(&[ALICE, "wrong", "smtp", "", "192.0.2.9;4711"])].concat();
        ensure!(
            Places::ask(&places.mux(), &[&wrong])?.starts_with(b"\0\x18NO "),
            "wrong"
        );
        told(site, |log| log.contains("192.0.2.9"))?;
        // What is no login is denied like any other, and told.
        for login in ["a\rb@example.com", "a\u{1b}[2J@example.com", "\u{0}@example.com"] {
            let answer = Places::ask(&places.mux(), &[&strings(&[login, PASSWORD, "smtp", ""])])?;
            ensure!(answer.get(2..4) == Some(b"NO"), "{login:?}: {answer:?}");
        }
        told(site, |log| log.matches("login_denied").count() == 4)?;
        // Longer than any string may be: refused, though it never comes.
        let answer = Places::ask(&places.mux(), &[&[1, 1]])?;
        ensure!(answer[2..].starts_with(b"NO "), "{answer:?}");
        // Half a request and the end: nothing.
        let mut stream = UnixStream::connect(places.mux())?;
        stream.write_all(&four[..9])?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        ensure!(answer.is_empty(), "{answer:?}");
        Ok(())
    })
}

#[test]
fn couriers_programs_get_their_answers() -> Result<()> {
    let places = Places::new()?;
    let quota = "UPDATE mailbox SET quota = 10000000 WHERE username = 'alice@example.com'";
    places.site().only(&["authd"]).sql(quota).run(|site| {
        let authtest = |arguments: &[&str]| places.courier("authtest", arguments);
        let known = authtest(&[ALICE, PASSWORD])?;
        known.expect(0, "Authentication succeeded.")?;
        let home = site.endpoints().mail_root.display().to_string();
        for line in [ALICE, &home, "Maildir: example.com/alice/", "Quota: 10000000S"] {
            ensure!(known.text.contains(line), "no {line}: {known:?}");
        }
        ensure!(
            !known.text.contains("$1$") && !known.text.contains("Password: s"),
            "{known:?}"
        );
        // Without a password it is PRE.
        authtest(&[ALICE])?.expect(0, "Maildir: example.com/alice/")?;
        authtest(&["-s", "pop3", ALICE, PASSWORD])?.expect(0, "succeeded")?;
        let failed = "Authentication FAILED: Operation not permitted";
        authtest(&[ALICE, "wrong"])?.expect(1, failed)?;
        authtest(&["nobody@example.com", PASSWORD])?.expect(1, failed)?;
        authtest(&["nobody@example.com"])?.expect(1, failed)?;
        authtest(&["alice", PASSWORD])?.expect(1, failed)?;
        // With two it changes the password.
        authtest(&[ALICE, "wrong", "new one"])?.expect(1, "FAILED")?;
        authtest(&[ALICE, PASSWORD, "new one"])?.expect(0, "Password change succeeded.")?;
        authtest(&[ALICE, PASSWORD])?.expect(1, failed)?;
        authtest(&[ALICE, "new one"])?.expect(0, "succeeded")?;
        site.sql("UPDATE mailbox SET active = 0 WHERE username = 'bob@example.com'")?;
        authtest(&["bob@example.com"])?.expect(1, failed)
    })
}

#[test]
fn all_accounts_are_listed() -> Result<()> {
    let places = Places::new()?;
    // More than a page.
    let accounts = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1099) \
                    INSERT INTO mailbox(username, password, name, maildir, local_part, domain, active) \
                    SELECT 'u' || i || '@example.com', '', '', 'example.com/u' || i || '/', 'u' || i, 'example.com', i <> 7 FROM n;";
    places.site().only(&["authd"]).sql(accounts).run(|site| {
        let list = places.courier("authenumerate", &[])?;
        list.expect(0, "\n")?;
        let home = site.endpoints().mail_root.display().to_string();
        let (uid, gid) = site.ids();
        let lines: Vec<&str> = list.text.lines().collect();
        ensure!(lines.len() == 1_101, "{} lines", lines.len());
        for user in ["alice", "bob", "u0", "u1099"] {
            let line = format!("{user}@example.com\t{uid}\t{gid}\t{home}\texample.com/{user}/");
            ensure!(lines.contains(&&*line), "no {line:?}: {:?}", &lines[..3]);
        }
        ensure!(!list.text.contains("u7@"), "an inactive account");
        Ok(())
    })
}

#[test]
fn authdaemon_by_hand() -> Result<()> {
    let places = Places::new()?;
    let passwords = "UPDATE mailbox SET password = '{PLAIN}tanstaaf tanstaaf' WHERE username = 'alice@example.com';\
                     UPDATE mailbox SET password = '$1$ab$.ThsTrbyIbEahEdE8LNwj1' WHERE username = 'bob@example.com'";
    places
        .site()
        .only(&["authd"])
        .sql(passwords)
        .set("authd.compat.authdaemon_show_passwords", true)
        .run(|site| {
            // The digests are those of Python's hmac.
            for (kind, digest) in [
                ("cram-md5", "daf500b5fe639936dfedf213515f2898"),
                ("cram-sha1", "8aaab2bc4d2c5a061f95e871a38675a1e1137794"),
                (
                    "cram-sha256",
                    "f53d3c2d4b2dae0b0b1680b3c724322a6eb1e5b33cea78163029895736ae0092",
                ),
            ] {
                let challenge = STANDARD.encode("<1896.697170952@postoffice.reston.mci.net>");
                let response = |digest: &str| STANDARD.encode(format!("{ALICE} {digest}"));
                let answer = places.auth(&format!("imap\n{kind}\n{challenge}\n{}\n", response(digest)))?;
                ensure!(answer.contains(&format!("ADDRESS={ALICE}\n")), "{kind}: {answer}");
                ensure!(
                    answer.contains("PASSWD2=tanstaaf tanstaaf\n") && answer.ends_with("\n.\n"),
                    "{answer}"
                );
                let wrong = digest.replace(&digest[..1], "x");
                let answer = places.auth(&format!("imap\n{kind}\n{challenge}\n{}\n", response(&wrong)))?;
                ensure!(answer == "FAIL\n", "{kind}: {answer}");
            }
            // Bob's password is stored as a hash: no challenge can be checked with it.
            let challenge = STANDARD.encode("<1@x>");
            let response = STANDARD.encode("bob@example.com 00000000000000000000000000000000");
            let answer = places.auth(&format!("imap\ncram-md5\n{challenge}\n{response}\n"))?;
            ensure!(answer == "FAIL\n", "{answer}");
            let answer = places.ask_authdaemon("PRE . imap bob@example.com\n")?;
            ensure!(
                answer.contains("PASSWD=$1$") && !answer.contains("PASSWD2"),
                "{answer}"
            );
            ensure!(places.auth("imap\nplain\nx\n")? == "FAIL\n", "unknown kind");
            for (request, expected) in [
                (
                    "PASSWD imap\talice@example.com\ttanstaaf tanstaaf\tne\x1bw\n",
                    "FAIL\n",
                ),
                ("PASSWD imap\talice@example.com\ttanstaaf tanstaaf\n", "FAIL\n"),
                ("HELLO\n", ""),
                ("AUTH 9000\nimap\n", ""),
                ("AUTH x\nimap\n", ""),
            ] {
                let answer = places.ask_authdaemon(request)?;
                ensure!(answer == expected, "{request:?}: {answer:?}");
            }
            let log = told(site, |log| {
                log.contains("192.0.2.7") && log.contains("authdaemon")
            })?;
            ensure!(!log.contains("tanstaaf"), "a password in the log");
            Ok(())
        })
}

/// With the replica who is known logs in all the same; nobody hears a no.
#[test]
fn the_replica_answers_for_known_users() -> Result<()> {
    let places = Places::new()?;
    places.site().only(&["authd"]).own_server().run(|site| {
        site.events().wait("the replica is filled", |event| {
            event["event"] == "replica_refreshed"
        })?;
        site.database()?.server()?.process()?.kill()?;
        places
            .testsaslauthd(&["-u", ALICE, "-p", PASSWORD])?
            .expect(0, "OK")?;
        places
            .courier("authtest", &[ALICE, PASSWORD])?
            .expect(0, "succeeded")?;
        places.courier("authtest", &[ALICE])?.expect(0, ALICE)?;
        for (login, password) in [(ALICE, "wrong"), ("nobody@example.com", PASSWORD)] {
            let mux = Places::ask(&places.mux(), &[&strings(&[login, password, "smtp", ""])])?;
            ensure!(mux.is_empty(), "{login} {password}: {mux:?}");
            let answer = places.courier("authtest", &[login, password])?;
            answer.expect(1, "Authentication FAILED: Input/output error")?;
        }
        places
            .courier("authtest", &["nobody@example.com"])?
            .expect(1, "Input/output error")
    })
}

/// While the database is away nobody hears that a password is wrong or a user unknown.
#[test]
fn without_the_database_there_is_no_answer() -> Result<()> {
    let places = Places::new()?;
    places
        .site()
        .only(&["authd"])
        .own_server()
        .set("authd.replica.enabled", false)
        .run(|site| {
            places
                .testsaslauthd(&["-u", ALICE, "-p", PASSWORD])?
                .expect(0, "OK")?;
            site.database()?.server()?.process()?.kill()?;
            for login in [ALICE, "nobody@example.com"] {
                for password in [PASSWORD, "wrong"] {
                    let mux = Places::ask(&places.mux(), &[&strings(&[login, password, "smtp", ""])])?;
                    ensure!(mux.is_empty(), "{login} {password}: {mux:?}");
                    let answer = places.testsaslauthd(&["-u", login, "-p", password])?;
                    ensure!(
                        answer.status == Some(255) && !answer.text.contains("OK"),
                        "{answer:?}"
                    );
                    let answer = places.courier("authtest", &[login, password])?;
                    answer.expect(1, "Authentication FAILED: Input/output error")?;
                }
                places
                    .courier("authtest", &[login])?
                    .expect(1, "Input/output error")?;
            }
            let list = places.courier("authenumerate", &[])?;
            ensure!(list.status != Some(0), "{list:?}");
            site.database()?.server()?.start()?;
            wait::for_true("the sockets answer again", OUTAGE_LIMIT, || {
                let mux = places.testsaslauthd(&["-u", ALICE, "-p", PASSWORD])?;
                let courier = places.courier("authtest", &[ALICE, PASSWORD])?;
                Ok(mux.status == Some(0) && courier.status == Some(0))
            })
        })
}
