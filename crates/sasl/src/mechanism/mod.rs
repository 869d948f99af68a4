//! What a mechanism is, and the table of those there are. Each is one file.

mod login;
mod plain;

use std::fmt;

use mail_types::Secret;

/// Longest response taken (RFC 4954 4).
pub const MAX_RESPONSE: usize = 12_288;
/// Longest login name: an address is at most 64 + 1 + 255 octets.
const MAX_LOGIN: usize = 320;

/// One exchange of one mechanism, server side.
pub trait Mechanism: Send + Sync {
    /// Takes the initial response (first step, `None` where the client sent none) or the response to the
    /// last challenge.
    fn step(&mut self, response: Option<Secret>) -> Step;
}

/// What comes out of a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this to the peer and come back with its response.
    Challenge(Vec<u8>),
    /// The exchange is over: whether these are right decides.
    CheckPassword(Credentials),
    /// The exchange is over and failed, whatever the database says; the reason is for the log.
    Failed(&'static str),
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
        let login = std::str::from_utf8(login).map_err(|_| "the login name is not UTF-8")?;
        if login.is_empty() || login.len() > MAX_LOGIN {
            return Err("the login name is empty or too long");
        }
        if login.chars().any(char::is_control) {
            return Err("the login name holds a control character");
        }
        if password.is_empty() || password.expose().len() > crate::password::MAX_PASSWORD {
            return Err("the password is empty or too long");
        }
        if password.expose().contains(&0) {
            return Err("the password holds a NUL");
        }
        Ok(Self {
            login: login.to_owned(),
            password,
        })
    }
}

/// An entry of the table.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The registered name, upper case.
    pub name: &'static str,
    /// Whether the password itself travels: only under TLS, or from trusted networks.
    pub plaintext: bool,
    start: fn() -> Box<dyn Mechanism>,
}

impl Entry {
    /// Begins an exchange.
    pub fn start(&self) -> Box<dyn Mechanism> {
        (self.start)()
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
        start: || Box::new(plain::Plain),
    },
    Entry {
        name: "LOGIN",
        plaintext: true,
        start: || Box::<login::Login>::default(),
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
                let mut mechanism = entry.start();
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
