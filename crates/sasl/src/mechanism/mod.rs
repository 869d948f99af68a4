//! What a mechanism is, and the table of those there are. Each is one file.

mod bearer;
pub mod cram_md5;
mod digest_md5;
mod external;
mod login;
mod plain;
mod scram;

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mail_types::Secret;

pub use crate::password::{CramContexts, ScramColumn as ScramKeys, ScramKind};

/// Longest response taken (RFC 4954 4).
pub const MAX_RESPONSE: usize = 12_288;
/// Longest login name: an address is at most 64 + 1 + 255 octets.
const MAX_LOGIN: usize = 320;

/// What an exchange is told of its surroundings before it begins.
#[derive(Clone)]
pub struct Parameters {
    /// Fresh random bytes, for nonces and challenges.
    pub random: [u8; 32],
    /// Our name: the realm of DIGEST-MD5, and part of CRAM-MD5's challenge.
    pub hostname: String,
    /// The service's name as registered for SASL: `smtp`, `imap` or `pop`.
    pub service: &'static str,
    /// Seconds since 1970.
    pub unix_time: u64,
    /// The channel binding tls-exporter (RFC 9266); empty where there is none.
    pub tls_exporter: Vec<u8>,
    /// The channel binding tls-server-end-point (RFC 5929 4); empty where there is none.
    pub tls_server_end_point: Vec<u8>,
    /// Whether the -PLUS form of the mechanism was offered on this connection (RFC 5802 6).
    pub plus_offered: bool,
    /// The mailbox names (rfc822Name) of the client's certificate, which was verified; empty without one.
    pub certificate_names: Vec<String>,
    /// How SCRAM keys look here.
    pub scram: ScramShape,
    /// Makes the salts of users that do not exist or have no keys: the same one for the same name.
    pub decoy_key: [u8; 32],
}

/// How the SCRAM keys of real users look, so that those of others look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScramShape {
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// They are computed in each exchange, of a password in clear ([`Supply::Cleartext`]).
    pub derived: bool,
}

/// One exchange of one mechanism, server side.
pub trait Mechanism: Send + Sync {
    /// Takes the initial response (first step, `None` where the client sent none) or the response to the
    /// last challenge.
    fn step(&mut self, response: Option<Secret>) -> Step;

    /// Takes what was asked for by [`Step::Lookup`] or [`Step::CheckToken`]. With [`Supply::Cleartext`], and
    /// with [`Supply::Missing`] where keys are derived, SCRAM computes its keys here: work for a pool.
    fn supply(&mut self, _supply: Supply) -> Step {
        Step::Failed("nothing was asked for")
    }
}

/// What comes out of a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this to the peer and come back with its response.
    Challenge(Vec<u8>),
    /// The exchange is over: whether these are right decides.
    CheckPassword(Credentials),
    /// Look up what is stored of this login, and [`Mechanism::supply`] it.
    Lookup {
        /// Checked like that of [`Credentials`].
        login: String,
        /// What of it.
        wants: Wants,
    },
    /// Check this token. Where it is good (for this login, if one is named) the exchange is over; where it
    /// is not, [`Supply::TokenRefused`] goes on.
    CheckToken {
        /// Who the client says it is.
        login: Option<String>,
        /// The bearer token: visible ASCII characters.
        token: Secret,
    },
    /// The exchange is over: the peer has proved that it is this login.
    Authenticated {
        /// Of the lookup, or of the certificate.
        login: String,
    },
    /// The exchange is over: the peer does not know the secret.
    Denied {
        /// Who it wanted to be.
        login: Option<String>,
        /// For the log.
        reason: &'static str,
    },
    /// The exchange is over and failed, whatever the database says; the reason is for the log.
    Failed(&'static str),
    /// The exchange is over before it began: an initial response came, and the server is to speak first
    /// (RFC 4422 3). Nothing was tried.
    ServerFirst,
}

/// What a challenge-response mechanism needs to know of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// The contexts of CRAM-MD5, or the password in clear.
    CramMd5,
    /// The password in clear.
    Cleartext,
    /// The keys of SCRAM, or the password in clear.
    Scram(ScramKind),
}

/// The answer to [`Step::Lookup`] or [`Step::CheckToken`].
#[derive(Debug)]
pub enum Supply {
    /// The password in clear; good for all that can be wanted.
    Cleartext(Secret),
    /// The contexts of CRAM-MD5.
    CramMd5(CramContexts),
    /// The keys of SCRAM, of the kind that was wanted.
    Scram(ScramKeys),
    /// No such user, or nothing of that kind is stored: the exchange goes on as if, and ends in
    /// [`Step::Denied`].
    Missing,
    /// The token is not good.
    TokenRefused {
        /// For the log.
        reason: &'static str,
        /// Where clients learn how to get one (OpenID Connect Discovery), told to the client.
        openid_configuration: Option<String>,
    },
}

/// A login name and password, as the peer gave them.
#[derive(Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Not empty, UTF-8, at most 320 octets, no control characters.
    pub login: String,
    /// Not empty, at most [`crate::password::MAX_PASSWORD`] octets, without NUL.
    pub password: Secret,
}

impl Credentials {
    /// Checks both, as the fields say.
    pub fn new(login: &[u8], password: Secret) -> Result<Self, &'static str> {
        let login = login_name(login)?;
        if password.is_empty() || password.expose().len() > crate::password::MAX_PASSWORD {
            return Err("the password is empty or too long");
        }
        if password.expose().contains(&0) {
            return Err("the password holds a NUL");
        }
        Ok(Self { login, password })
    }
}

/// Checks a login name: not empty, UTF-8, at most 320 octets, no control characters.
fn login_name(login: &[u8]) -> Result<String, &'static str> {
    let login = std::str::from_utf8(login).map_err(|_| "the login name is not UTF-8")?;
    if login.is_empty() || login.len() > MAX_LOGIN {
        return Err("the login name is empty or too long");
    }
    if login.chars().any(char::is_control) {
        return Err("the login name holds a control character");
    }
    Ok(login.to_owned())
}

/// A name of a GS2 header (RFC 5801 4), in which `=2C` is a comma and `=3D` an equals sign.
fn saslname(text: &str) -> Result<String, &'static str> {
    let mut name = String::new();
    let mut parts = text.split('=');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (character, rest) = match part.split_at_checked(2) {
            Some(("2C", rest)) => (',', rest),
            Some(("3D", rest)) => ('=', rest),
            _ => return Err("a name is damaged"),
        };
        name.push(character);
        name.push_str(rest);
    }
    if name.is_empty() {
        return Err("a name is empty");
    }
    Ok(name)
}

/// A nonce of 144 random bits, without commas and quotes.
fn nonce(parameters: &Parameters) -> String {
    BASE64_STANDARD.encode(&parameters.random[..18])
}

/// What the peer proves itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The password, which any stored form can be compared with.
    Password,
    /// Knowledge of a password of which this is stored.
    Stored(Wants),
    /// A token, checked against keys of the site.
    Token,
    /// A certificate, checked in the TLS handshake; offered only where it names a mailbox.
    Certificate,
}

/// An entry of the table.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The registered name, upper case.
    pub name: &'static str,
    /// Whether what travels is enough to log in again (the password, a token): only under TLS, or from
    /// trusted networks.
    pub plaintext: bool,
    /// Whether it needs one of the channel bindings (the -PLUS forms).
    pub needs_tls_binding: bool,
    /// What it rests on.
    pub proof: Proof,
    start: fn(Parameters) -> Box<dyn Mechanism>,
}

impl Entry {
    /// Begins an exchange.
    pub fn start(&self, parameters: Parameters) -> Box<dyn Mechanism> {
        (self.start)(parameters)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All mechanisms, in the order in which they are offered: the better ones first, and the two that want the
/// password stored in clear behind those that do not. ANONYMOUS is none of them.
pub const MECHANISMS: &[Entry] = &[
    scram("SCRAM-SHA-256-PLUS", ScramKind::Sha256, true, |parameters| {
        Box::new(scram::Scram::new(ScramKind::Sha256, true, parameters))
    }),
    scram("SCRAM-SHA-1-PLUS", ScramKind::Sha1, true, |parameters| {
        Box::new(scram::Scram::new(ScramKind::Sha1, true, parameters))
    }),
    scram("SCRAM-SHA-256", ScramKind::Sha256, false, |parameters| {
        Box::new(scram::Scram::new(ScramKind::Sha256, false, parameters))
    }),
    scram("SCRAM-SHA-1", ScramKind::Sha1, false, |parameters| {
        Box::new(scram::Scram::new(ScramKind::Sha1, false, parameters))
    }),
    entry("PLAIN", true, Proof::Password, |_| Box::new(plain::Plain)),
    entry("LOGIN", true, Proof::Password, |_| Box::<login::Login>::default()),
    entry("CRAM-MD5", false, Proof::Stored(Wants::CramMd5), |parameters| {
        Box::new(cram_md5::CramMd5::new(parameters))
    }),
    entry(
        "DIGEST-MD5",
        false,
        Proof::Stored(Wants::Cleartext),
        |parameters| Box::new(digest_md5::DigestMd5::new(parameters)),
    ),
    entry("OAUTHBEARER", true, Proof::Token, |_| {
        Box::new(bearer::Bearer::new(bearer::Form::OauthBearer))
    }),
    entry("XOAUTH2", true, Proof::Token, |_| {
        Box::new(bearer::Bearer::new(bearer::Form::Xoauth2))
    }),
    entry("EXTERNAL", false, Proof::Certificate, |parameters| {
        Box::new(external::External::new(parameters))
    }),
];

const fn entry(
    name: &'static str,
    plaintext: bool,
    proof: Proof,
    start: fn(Parameters) -> Box<dyn Mechanism>,
) -> Entry {
    Entry {
        name,
        plaintext,
        needs_tls_binding: false,
        proof,
        start,
    }
}

const fn scram(
    name: &'static str,
    kind: ScramKind,
    needs_tls_binding: bool,
    start: fn(Parameters) -> Box<dyn Mechanism>,
) -> Entry {
    Entry {
        name,
        plaintext: false,
        needs_tls_binding,
        proof: Proof::Stored(Wants::Scram(kind)),
        start,
    }
}

/// The mechanism of a name in any case.
pub fn find(name: &str) -> Option<&'static Entry> {
    MECHANISMS
        .iter()
        .find(|entry| entry.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Parameters {
        /// Those of a connection without TLS.
        pub fn example() -> Self {
            Self {
                random: [7; 32],
                hostname: "mail.example.com".to_owned(),
                service: "imap",
                unix_time: 1_700_000_000,
                tls_exporter: Vec::new(),
                tls_server_end_point: Vec::new(),
                plus_offered: false,
                certificate_names: Vec::new(),
                scram: ScramShape {
                    iterations: 4096,
                    derived: false,
                },
                decoy_key: [9; 32],
            }
        }
    }

    #[test]
    fn names_in_any_case() {
        assert_eq!(find("Login").unwrap().name, "LOGIN");
        assert!(find("ANONYMOUS").is_none() && find("").is_none());
    }

    #[test]
    fn login_names_that_reach_no_database() {
        for login in [&b""[..], b"u\0x", b"u\nx", b"u\x1b[2J", b"\xff\xfe", &[b'a'; 321]] {
            assert!(Credentials::new(login, Secret::new("pw")).is_err(), "{login:?}");
        }
        assert!(Credentials::new(b"u", Secret::new("")).is_err());
        assert!(Credentials::new(b"u", Secret::new(vec![b'x'; 4097])).is_err());
        assert!(Credentials::new(b"u", Secret::new(vec![b'x'; 4096])).is_ok());
    }

    #[test]
    fn names_of_gs2_headers() {
        assert_eq!(saslname("a=2Cb=3D=2C"), Ok("a,b=,".to_owned()));
        for bad in ["", "a=", "a=2", "a=2c", "=4F", "=ä"] {
            assert!(saslname(bad).is_err(), "{bad}");
        }
    }

    /// robustness.md A02: what is no message of any mechanism.
    #[test]
    fn messages_that_let_nobody_in() {
        for entry in MECHANISMS {
            for message in [&b""[..], b"\0\0", b"u", b"\0u\0p\0x", b"\x01", b"*"] {
                for initial in [true, false] {
                    let mut parameters = Parameters::example();
                    parameters.scram.iterations = 1;
                    let mut mechanism = entry.start(parameters);
                    let mut step = Step::Challenge(Vec::new());
                    if !initial {
                        step = mechanism.step(None);
                    }
                    while matches!(step, Step::Challenge(_)) {
                        step = mechanism.step(Some(Secret::new(message)));
                    }
                    // LOGIN takes anything for a name and a password.
                    let asks = entry.name == "LOGIN" && matches!(step, Step::CheckPassword(_));
                    let refused = matches!(step, Step::Failed(_) | Step::Denied { .. } | Step::ServerFirst);
                    assert!(asks || refused, "{entry:?} {message:?}: {step:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_input_panics_or_goes_on_for_ever(
            responses in proptest::collection::vec(any::<Vec<u8>>(), 0..9),
            initial in any::<bool>(),
            known in any::<bool>(),
        ) {
            for entry in MECHANISMS {
                let mut parameters = Parameters::example();
                parameters.scram.iterations = 1;
                let mut mechanism = entry.start(parameters);
                let mut rest = responses.iter();
                let mut step = mechanism.step(rest.next().filter(|_| initial).map(|r| Secret::new(r.clone())));
                let mut challenges = 0;
                loop {
                    step = match step {
                        Step::Challenge(_) => {
                            challenges += 1;
                            prop_assert!(challenges <= 3);
                            match rest.next() {
                                Some(response) => mechanism.step(Some(Secret::new(response.clone()))),
                                None => break,
                            }
                        }
                        Step::Lookup { .. } if known => mechanism.supply(Supply::Cleartext(Secret::new("pw"))),
                        Step::Lookup { .. } => mechanism.supply(Supply::Missing),
                        Step::CheckToken { .. } => mechanism.supply(Supply::TokenRefused {
                            reason: "",
                            openid_configuration: None,
                        }),
                        Step::Authenticated { .. } => panic!("{entry:?} lets anybody in"),
                        Step::CheckPassword(_) | Step::Denied { .. } | Step::Failed(_) | Step::ServerFirst => break,
                    };
                }
                let over = mechanism.step(None);
                let ended = matches!(over, Step::Failed(_) | Step::Challenge(_) | Step::Denied { .. });
                prop_assert!(ended);
            }
        }
    }
}
