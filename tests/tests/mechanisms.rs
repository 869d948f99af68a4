//! Every SASL mechanism on real daemons under real TLS, by clients that we did not write: Python's smtplib and
//! imaplib, curl, gsasl, and the crate rsasl for the channel binding tls-server-end-point.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::config::SASLConfig;
use rsasl::mechanisms::scram::{SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS};
use rsasl::mechname::Mechname;
use rsasl::prelude::{Mechanism, Registry, SASLClient, SessionError};
use rsasl::property::{AuthId, ChannelBindings, OverrideCBType, Password};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tests::Site;
use tests::client::Imap;
use tests::packages::{self, CURL, GSASL, OPENSSL, PYTHON};
use tests::site::{PASSWORD, SiteBuilder};
use tests::wait;

const ALICE: &str = "alice@example.com";

/// A site that offers everything at once, and lets guesses come fast.
fn site() -> SiteBuilder {
    let all = [
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1",
        "PLAIN",
        "LOGIN",
        "CRAM-MD5",
        "DIGEST-MD5",
        "OAUTHBEARER",
        "XOAUTH2",
        "EXTERNAL",
    ];
    Site::builder()
        .only(&["authd", "smtpd", "imapd", "pop3d"])
        .set("authd.mechanisms", all.map(str::to_owned).to_vec())
        .set("authd.auth_failure_delay", "0s")
        .set("authd.auth_failure_delay_limit", "0s")
}

/// A directory that the site's account may read.
fn shared_directory() -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

fn run(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null());
    command.output().with_context(|| format!("{command:?}"))
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr]
        .map(String::from_utf8_lossy)
        .concat()
}

/// What a client's try came to; anything that is neither is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    In,
    Refused,
}

/// One program with one way to log in.
#[derive(Debug, Clone, Copy)]
struct Way {
    program: Program,
    /// `smtp`, `imap` or `pop3`.
    service: &'static str,
    mechanism: &'static str,
    /// Further options.
    options: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Python,
    Curl,
    Gsasl,
}

impl Way {
    fn port(&self, site: &Site) -> Result<String> {
        let service = match (self.program, self.service) {
            // It makes TLS by STARTTLS.
            (Program::Gsasl, "smtp") => "submission",
            (Program::Gsasl, _) => "imap",
            (_, "smtp") => "submissions",
            (_, "imap") => "imaps",
            _ => "pop3s",
        };
        Ok(site.endpoints().ports.of(service)?.to_string())
    }

    /// Tries to log in.
    fn attempt(&self, site: &Site, user: &str, secret: &str) -> Result<Outcome> {
        let output = match self.program {
            Program::Python => self.python(site, user, secret)?,
            Program::Curl => self.curl(site, user, secret)?,
            Program::Gsasl => self.gsasl(site, user, secret)?,
        };
        let text = said(&output);
        match (self.program, output.status.code()) {
            (_, Some(0)) => Ok(Outcome::In),
            (Program::Python, Some(3)) | (Program::Curl, Some(67)) => Ok(Outcome::Refused),
            // It has one status for everything: the server's words decide.
            (Program::Gsasl, Some(1))
                if text.contains("535 5.7.8") || text.contains("AUTHENTICATIONFAILED") =>
            {
                Ok(Outcome::Refused)
            }
            (_, status) => bail!("{self:?} ended with {status:?}:\n{text}"),
        }
    }

    fn python(&self, site: &Site, user: &str, secret: &str) -> Result<Output> {
        let script = tests::binaries::workspace_root().join("tests/clients/sasl.py");
        let host = site.endpoints().address.to_string();
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).args([self.service, &host, &self.port(site)?]);
        command
            .arg(&site.endpoints().ca_file)
            .args([self.mechanism, user, secret]);
        run(&mut command)
    }

    fn curl(&self, site: &Site, user: &str, secret: &str) -> Result<Output> {
        let (host, port) = (site.endpoints().address, self.port(site)?);
        let mut command = Command::new("curl");
        command.args(["--disable", "-sS", "--max-time", "60", "--cacert"]);
        command.arg(&site.endpoints().ca_file);
        command.args(["--login-options", &format!("AUTH={}", self.mechanism)]);
        match self.mechanism {
            "OAUTHBEARER" | "XOAUTH2" => command.args(["-u", &format!("{user}:"), "--oauth2-bearer", secret]),
            "EXTERNAL" => command.args(["-u", &format!("{user}:")]),
            _ => command.args(["-u", &format!("{user}:{secret}")]),
        };
        command.args([
            "--url",
            &format!("{}s://{host}:{port}/", self.service),
            "-X",
            "NOOP",
        ]);
        // The answer to NOOP has no lines.
        if self.service == "pop3" {
            command.arg("-I");
        }
        command.args(self.options);
        run(&mut command)
    }

    fn gsasl(&self, site: &Site, user: &str, secret: &str) -> Result<Output> {
        let (host, port) = (site.endpoints().address, self.port(site)?);
        let mut command = Command::new("gsasl");
        command
            .arg(format!("--{}", self.service))
            .arg(format!("--connect={host}:{port}"));
        command
            .args(["--starttls", "--no-client-first"])
            .arg("--x509-ca-file")
            .arg(&site.endpoints().ca_file);
        command.args([
            "--mechanism",
            self.mechanism,
            "--authentication-id",
            user,
            "--password",
            secret,
        ]);
        command.args(["--hostname", &host.to_string()]);
        command.args(self.options);
        run(&mut command)
    }

    /// The right secret logs in by this very mechanism, a wrong one does not.
    fn proves(&self, site: &Site, user: &str, right: &str, wrong: &str) -> Result<()> {
        let before = granted(site, self)?;
        let outcome = self.attempt(site, user, right)?;
        ensure!(outcome == Outcome::In, "{self:?}: refused with the right secret");
        // The log is written behind.
        let after = wait::until(&format!("a login by {}", self.mechanism), wait::LONG, || {
            Ok(Some(granted(site, self)?).filter(|count| *count > before))
        })?;
        ensure!(after == before + 1, "{self:?}: {before} and then {after} logins");
        let outcome = self.attempt(site, user, wrong)?;
        ensure!(
            outcome == Outcome::Refused,
            "{self:?}: {wrong} is as good as the secret"
        );
        ensure!(
            granted(site, self)? == after,
            "{self:?}: granted, but the client does not know"
        );
        Ok(())
    }
}

/// The logins that authd granted by a mechanism in a service.
fn granted(site: &Site, way: &Way) -> Result<usize> {
    let of = |event: &&serde_json::Value| {
        let text = event.to_string();
        text.contains("login_granted")
            && text.contains(&format!("\"mechanism\":\"{}\"", way.mechanism))
            && text.contains(&format!("\"service\":\"{}\"", way.service))
    };
    Ok(site.events().all()?.iter().filter(of).count())
}

const fn way(program: Program, service: &'static str, mechanism: &'static str) -> Way {
    Way {
        program,
        service,
        mechanism,
        options: &[],
    }
}

const fn with(way: Way, options: &'static [&'static str]) -> Way {
    Way { options, ..way }
}

use self::Program::{Curl, Gsasl, Python};

/// What needs a password.
const PASSWORD_WAYS: &[Way] = &[
    way(Python, "smtp", "PLAIN"),
    way(Python, "imap", "PLAIN"),
    way(Curl, "pop3", "PLAIN"),
    with(way(Curl, "imap", "PLAIN"), &["--sasl-ir"]),
    way(Python, "smtp", "LOGIN"),
    way(Python, "imap", "LOGIN"),
    way(Curl, "pop3", "LOGIN"),
    way(Python, "smtp", "CRAM-MD5"),
    way(Python, "imap", "CRAM-MD5"),
    way(Curl, "pop3", "CRAM-MD5"),
    way(Gsasl, "imap", "CRAM-MD5"),
    way(Curl, "smtp", "DIGEST-MD5"),
    way(Curl, "imap", "DIGEST-MD5"),
    way(Curl, "pop3", "DIGEST-MD5"),
    with(
        way(Gsasl, "imap", "DIGEST-MD5"),
        &["--quality-of-protection=qop-auth"],
    ),
    with(
        way(Gsasl, "smtp", "DIGEST-MD5"),
        &["--quality-of-protection=qop-auth"],
    ),
    with(way(Gsasl, "imap", "SCRAM-SHA-1"), &["--no-cb"]),
    with(way(Gsasl, "smtp", "SCRAM-SHA-1"), &["--no-cb"]),
    with(way(Gsasl, "imap", "SCRAM-SHA-256"), &["--no-cb"]),
    with(way(Gsasl, "smtp", "SCRAM-SHA-256"), &["--no-cb"]),
    // With the channel binding tls-exporter.
    way(Gsasl, "imap", "SCRAM-SHA-1-PLUS"),
    way(Gsasl, "smtp", "SCRAM-SHA-1-PLUS"),
    way(Gsasl, "imap", "SCRAM-SHA-256-PLUS"),
    way(Gsasl, "smtp", "SCRAM-SHA-256-PLUS"),
];

#[test]
fn passwords() -> Result<()> {
    packages::ensure(&[PYTHON, CURL, GSASL])?;
    site().run(|site| {
        for way in PASSWORD_WAYS {
            way.proves(site, ALICE, PASSWORD, "wrong")?;
            ensure!(
                way.attempt(site, "nobody@example.com", PASSWORD)? == Outcome::Refused,
                "{way:?}"
            );
        }
        Ok(())
    })
}

/// Keys that gsasl made of a password that nobody stored: SCRAM and PLAIN work with them, CRAM-MD5 does not.
#[test]
fn stored_keys() -> Result<()> {
    packages::ensure(&[PYTHON, GSASL])?;
    let mut site = site();
    for (user, mechanism) in [("one", "SCRAM-SHA-1"), ("two", "SCRAM-SHA-256")] {
        let mut command = Command::new("gsasl");
        command.args([
            "--mkpasswd",
            "--mechanism",
            mechanism,
            "--password",
            "pencil",
            "--iteration-count",
            "5000",
        ]);
        let output = run(&mut command)?;
        let column = String::from_utf8(output.stdout)?.trim().to_owned();
        ensure!(column.starts_with(&format!("{{{mechanism}}}5000,")), "{column}");
        let address = format!("{user}@example.com");
        site = site.account(&address).sql(&format!(
            "UPDATE mailbox SET password = '{column}' WHERE username = '{address}';"
        ));
    }
    site.run(|site| {
        for (user, scram) in [
            (
                "one@example.com",
                with(way(Gsasl, "imap", "SCRAM-SHA-1"), &["--no-cb"]),
            ),
            ("two@example.com", way(Gsasl, "imap", "SCRAM-SHA-256-PLUS")),
        ] {
            scram.proves(site, user, "pencil", "Pencil")?;
            way(Python, "imap", "PLAIN").proves(site, user, "pencil", "Pencil")?;
            let cram = way(Python, "imap", "CRAM-MD5").attempt(site, user, "pencil")?;
            ensure!(cram == Outcome::Refused);
        }
        Ok(())
    })
}

/// Who gives tokens out, by openssl: a key, and tokens signed with it (RS256).
struct TokenIssuer(PathBuf);

impl TokenIssuer {
    fn new(directory: &Path) -> Result<Self> {
        let key = directory.join("issuer.key");
        let mut command = Command::new("openssl");
        run(command.args(["genrsa", "-out"]).arg(&key).arg("2048"))?;
        let public = directory.join("issuer-2026.pem");
        let mut command = Command::new("openssl");
        run(command
            .args(["rsa", "-pubout", "-in"])
            .arg(&key)
            .arg("-out")
            .arg(&public))?;
        fs::set_permissions(&public, fs::Permissions::from_mode(0o644))?;
        Ok(Self(directory.to_owned()))
    }

    fn token(&self, audience: &str, seconds: i64) -> Result<String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let claims = json!({
            "iss": "https://id.example.com", "aud": audience, "email": ALICE,
            "exp": i64::try_from(now.as_secs())? + seconds,
        });
        let header = json!({ "alg": "RS256", "kid": "issuer-2026", "typ": "JWT" });
        let part = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let file = self.0.join("signed");
        fs::write(&file, &signed)?;
        let mut command = Command::new("openssl");
        command
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.0.join("issuer.key"))
            .arg(&file);
        let output = run(&mut command)?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(format!(
            "{signed}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(output.stdout)
        ))
    }
}

#[test]
fn tokens() -> Result<()> {
    packages::ensure(&[CURL, OPENSSL])?;
    let directory = shared_directory()?;
    let issuer = TokenIssuer::new(directory.path())?;
    let key = directory.path().join("issuer-2026.pem").display().to_string();
    // One at a time: of several, curl takes the one that it likes best, whatever it was told.
    for mechanism in ["OAUTHBEARER", "XOAUTH2"] {
        let site = site()
            .set("authd.mechanisms", vec![mechanism.to_owned()])
            .set("authd.oauth.keys", vec![key.clone()])
            .set("authd.oauth.issuer", "https://id.example.com")
            .set("authd.oauth.audience", "mail");
        site.run(|site| token_logins(site, mechanism, &issuer))?;
    }
    Ok(())
}

/// Keys are read anew at SIGHUP, and from then on only what they say holds.
#[test]
fn a_reload_changes_the_keys_of_tokens() -> Result<()> {
    packages::ensure(&[CURL, OPENSSL])?;
    let directory = shared_directory()?;
    let before = TokenIssuer::new(directory.path())?.token("mail", 300)?;
    let key = directory.path().join("issuer-2026.pem").display().to_string();
    site()
        .set("authd.mechanisms", vec!["OAUTHBEARER".to_owned()])
        .set("authd.oauth.keys", vec![key.clone()])
        .set("authd.oauth.issuer", "https://id.example.com")
        .set("authd.oauth.audience", "mail")
        .run(|site| {
            let bearer = way(Curl, "imap", "OAUTHBEARER");
            ensure!(bearer.attempt(site, ALICE, &before)? == Outcome::In);
            // The same file with another key.
            let after = TokenIssuer::new(directory.path())?.token("mail", 300)?;
            ensure!(bearer.attempt(site, ALICE, &after)? == Outcome::Refused);
            site.reload("authd")?;
            bearer.proves(site, ALICE, &after, &before)?;
            // One that is none changes nothing.
            fs::write(&key, "no key")?;
            site.reload("authd")?;
            bearer.proves(site, ALICE, &after, &before)
        })
}

fn token_logins(site: &Site, mechanism: &'static str, issuer: &TokenIssuer) -> Result<()> {
    let good = issuer.token("mail", 300)?;
    let bad = [
        issuer.token("web", 300)?,
        issuer.token("mail", -300)?,
        "nonsense".to_owned(),
    ];
    for service in ["smtp", "imap", "pop3"] {
        for wrong in &bad {
            way(Curl, service, mechanism).proves(site, ALICE, &good, wrong)?;
        }
        let ir = with(way(Curl, service, mechanism), &["--sasl-ir"]);
        ir.proves(site, ALICE, &good, &bad[0])?;
        // A token is good for whom it names.
        ensure!(ir.attempt(site, "bob@example.com", &good)? == Outcome::Refused);
    }
    Ok(())
}

/// An authority in a directory, `authority.pem`.
fn authority(directory: &Path) -> Result<Issuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    fs::write(directory.join("authority.pem"), pem)?;
    Ok(Issuer::new(params, key))
}

/// A certificate for mailboxes, with its key in the same file.
fn user_certificate(issuer: &Issuer<'_, KeyPair>, file: &Path, mailboxes: &[&str]) -> Result<()> {
    let mut params = CertificateParams::default();
    for mailbox in mailboxes {
        params
            .subject_alt_names
            .push(SanType::Rfc822Name((*mailbox).try_into()?));
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(fs::write(file, certificate.pem() + &key.serialize_pem())?)
}

/// Tries curl's EXTERNAL with this certificate.
fn by_certificate(site: &Site, service: &'static str, user: &str, certificate: &Path) -> Result<Outcome> {
    let path = certificate.display().to_string();
    // The options of a way are constants.
    let options: &'static [&'static str] =
        Box::leak(Box::new(["--cert", &*Box::leak(path.into_boxed_str())]));
    with(way(Curl, service, "EXTERNAL"), options).attempt(site, user, "")
}

/// The authorities of users are read anew at SIGHUP.
#[test]
fn a_reload_changes_the_authorities_of_certificates() -> Result<()> {
    packages::ensure(&[CURL])?;
    let directory = shared_directory()?;
    let file = |name: &str| directory.path().join(name);
    user_certificate(&authority(directory.path())?, &file("before.pem"), &[ALICE])?;
    let authorities = file("authority.pem").display().to_string();
    site().set("tls.client_ca_file", authorities).run(|site| {
        let services = [("smtp", "smtpd"), ("imap", "imapd"), ("pop3", "pop3d")];
        for (service, _) in services {
            ensure!(by_certificate(site, service, ALICE, &file("before.pem"))? == Outcome::In);
        }
        user_certificate(&authority(directory.path())?, &file("after.pem"), &[ALICE])?;
        for (service, daemon) in services {
            ensure!(by_certificate(site, service, ALICE, &file("after.pem")).is_err());
            site.reload(daemon)?;
            let after = by_certificate(site, service, ALICE, &file("after.pem"))?;
            ensure!(after == Outcome::In, "{service}");
            ensure!(
                by_certificate(site, service, ALICE, &file("before.pem")).is_err(),
                "{service}"
            );
        }
        Ok(())
    })
}

#[test]
fn certificates() -> Result<()> {
    packages::ensure(&[CURL, PYTHON])?;
    let directory = shared_directory()?;
    let issuer = authority(directory.path())?;
    let file = |name: &str| directory.path().join(name);
    user_certificate(&issuer, &file("alice.pem"), &[ALICE])?;
    user_certificate(&issuer, &file("nobody.pem"), &["nobody@example.com"])?;
    user_certificate(&issuer, &file("host.pem"), &[])?;
    let strangers = shared_directory()?;
    let strange = authority(strangers.path())?;
    user_certificate(&strange, &file("strange.pem"), &[ALICE])?;
    let authorities = file("authority.pem").display().to_string();
    site().set("tls.client_ca_file", authorities).run(|site| {
        let curl =
            |service, user: &str, certificate: &str| by_certificate(site, service, user, &file(certificate));
        for service in ["smtp", "imap", "pop3"] {
            ensure!(curl(service, ALICE, "alice.pem")? == Outcome::In, "{service}");
            ensure!(
                curl(service, "bob@example.com", "alice.pem")? == Outcome::Refused,
                "{service}"
            );
            ensure!(
                curl(service, "nobody@example.com", "nobody.pem")? == Outcome::Refused,
                "{service}"
            );
            // Not offered without a mailbox in the certificate; without a certificate all is as usual.
            ensure!(curl(service, ALICE, "host.pem")? == Outcome::Refused, "{service}");
            // One that is not good ends the connection.
            ensure!(curl(service, ALICE, "strange.pem").is_err(), "{service}");
        }
        way(Python, "imap", "PLAIN").proves(site, ALICE, PASSWORD, "wrong")
    })
}

/// The credentials and the channel binding of an rsasl session.
struct Credentials {
    password: &'static str,
    binding: Vec<u8>,
}

impl SessionCallback for Credentials {
    fn callback(
        &self,
        _: &SessionData,
        _: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        request
            .satisfy::<AuthId>(ALICE)?
            .satisfy::<Password>(self.password.as_bytes())?
            .satisfy::<OverrideCBType>("tls-server-end-point")?
            .satisfy::<ChannelBindings>(&self.binding)?;
        Ok(())
    }

    fn enable_channel_binding(&self) -> bool {
        true
    }
}

/// Logs in to imapd by rsasl; the tagged answer, or why the client did not go on.
fn by_rsasl(site: &Site, mechanism: &str, credentials: Credentials) -> Result<String> {
    // Its usual registry has no -PLUS.
    static SHA1_PLUS: &[Mechanism] = &[SCRAM_SHA1_PLUS];
    static SHA256_PLUS: &[Mechanism] = &[SCRAM_SHA256_PLUS];
    static SHA256: &[Mechanism] = &[SCRAM_SHA256];
    let registry = Registry::with_mechanisms(match mechanism {
        "SCRAM-SHA-1-PLUS" => SHA1_PLUS,
        "SCRAM-SHA-256-PLUS" => SHA256_PLUS,
        _ => SHA256,
    });
    let config = SASLConfig::builder()
        .with_registry(registry)
        .with_callback(credentials)?;
    let name = Mechname::parse(mechanism.as_bytes())?;
    let mut session = SASLClient::new(config).start_suggested_iter([name])?;
    let mut imap = Imap::greet(site.endpoints().line("imaps")?)?;
    let tag = imap.begin(&format!("AUTHENTICATE {mechanism}"))?;
    loop {
        let line = imap.line.line()?.context("the server closed")?;
        let text = String::from_utf8(line)?.trim_end().to_owned();
        let Some(challenge) = text.strip_prefix('+') else {
            ensure!(text.starts_with(&tag), "{text}");
            return Ok(text);
        };
        let challenge = BASE64_STANDARD.decode(challenge.trim())?;
        let mut response = Vec::new();
        session.step(
            Some(&challenge).filter(|c| !c.is_empty()).map(Vec::as_slice),
            &mut response,
        )?;
        imap.line
            .send(format!("{}\r\n", BASE64_STANDARD.encode(response)).as_bytes())?;
    }
}

/// robustness.md A22 too: a wrong binding, and a client that was not shown the -PLUS form (`y,,`).
#[test]
fn the_channel_binding_of_the_certificate() -> Result<()> {
    site().run(|site| {
        let pem = site.directory().join("etc/tls/cert.pem");
        let certificate = CertificateDer::from_pem_file(pem)?;
        let binding = Sha256::digest(&certificate).to_vec();
        let attempt = |mechanism, password, binding: &[u8]| {
            let binding = binding.to_vec();
            by_rsasl(site, mechanism, Credentials { password, binding })
        };
        for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"] {
            let answer = attempt(mechanism, PASSWORD, &binding)?;
            ensure!(answer.contains(" OK "), "{answer}");
            for (password, binding) in [("wrong", &binding[..]), (PASSWORD, &[0; 32])] {
                let answer = attempt(mechanism, password, binding)?;
                ensure!(answer.contains("AUTHENTICATIONFAILED"), "{answer}");
            }
        }
        let answer = attempt("SCRAM-SHA-256", PASSWORD, &binding)?;
        ensure!(answer.contains("AUTHENTICATIONFAILED"), "{answer}");
        Ok(())
    })
}
