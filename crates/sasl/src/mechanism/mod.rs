//! What a mechanism is, and the table of those there are. Each is one file.

mod login;
mod plain;

use std::fmt;

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
    fn new(login: &[u8], password: Secret) -> Result<Self, &'static str> {
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

/// All mechanisms, in the order in which they are offered.
pub const MECHANISMS: &[Entry] = &[
    Entry {
        name: "PLAIN",
        plaintext: true,
        needs_tls_binding: false,
        proof: Proof::Password,
        start: |_| Box::new(plain::Plain),
    },
    Entry {
        name: "LOGIN",
        plaintext: true,
        needs_tls_binding: false,
        proof: Proof::Password,
        start: |_| Box::<login::Login>::default(),
    },
];

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

    proptest! {
        #[test]
        fn no_input_panics_or_goes_on_for_ever(responses in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            for entry in MECHANISMS {
                let mut mechanism = entry.start(Parameters::example());
                let mut step = mechanism.step(None);
                let mut rest = responses.iter();
                let mut challenges = 0;
                while let (Step::Challenge(_), Some(response)) = (&step, rest.next()) {
                    challenges += 1;
                    prop_assert!(challenges <= 2);
                    step = mechanism.step(Some(Secret::new(response.clone())));
                }
            }
        }
    }
}
