//! CRAM-MD5 (RFC 2195): the client proves that it knows the password by an HMAC-MD5 of a fresh challenge.
//!
//! [`Response`] and [`verify`] are for software that made the challenge itself (Courier's authdaemon).

use mail_types::Secret;
use subtle::ConstantTimeEq as _;

use super::{CramContexts, MAX_RESPONSE, Mechanism, Parameters, Step, Supply, Wants, login_name};

/// One exchange.
pub struct CramMd5 {
    challenge: String,
    parameters: Parameters,
    state: State,
}

enum State {
    Start,
    Asked,
    Lookup(Response),
    Done,
}

/// What a client answers: `login SP digest`.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// Who it is; checked like that of [`super::Credentials`].
    pub login: String,
    digest: [u8; 16],
}

impl Response {
    /// Reads it. The digest has 32 hex digits, which RFC 2195 wants in lower case and we in any.
    pub fn parse(response: &[u8]) -> Result<Self, &'static str> {
        if response.len() > MAX_RESPONSE {
            return Err("the response is too long");
        }
        let at = response
            .iter()
            .rposition(|byte| *byte == b' ')
            .ok_or("the digest is missing")?;
        let (login, digest) = (&response[..at], &response[at + 1..]);
        let digest = hex_digest(digest).ok_or("the digest is damaged")?;
        Ok(Self {
            login: login_name(login)?,
            digest,
        })
    }

    /// Whether it answers this challenge for somebody with these contexts.
    pub fn fits(&self, challenge: &[u8], contexts: &CramContexts) -> bool {
        let right = contexts.hmac(challenge);
        right.is_some_and(|right| right.ct_eq(&self.digest).into())
    }
}

/// Whether a response answers a challenge with this password.
pub fn verify(challenge: &[u8], response: &[u8], password: &Secret) -> bool {
    Response::parse(response)
        .is_ok_and(|response| response.fits(challenge, &CramContexts::of(password.expose())))
}

/// 32 hex digits.
pub(super) fn hex_digest(text: &[u8]) -> Option<[u8; 16]> {
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != 16 || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut digest = [0; 16];
    for (octet, [high, low]) in digest.iter_mut().zip(pairs) {
        *octet = digit(*high)? << 4 | digit(*low)?;
    }
    Some(digest)
}

impl CramMd5 {
    /// Begins an exchange.
    pub fn new(parameters: Parameters) -> Self {
        let random: String = parameters.random[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            challenge: format!("<{random}.{}@{}>", parameters.unix_time, parameters.hostname),
            parameters,
            state: State::Start,
        }
    }
}

impl Mechanism for CramMd5 {
    fn step(&mut self, response: Option<Secret>) -> Step {
        match (std::mem::replace(&mut self.state, State::Done), response) {
            (State::Start, None) => {
                self.state = State::Asked;
                Step::Challenge(self.challenge.clone().into_bytes())
            }
            (State::Start, Some(_)) => Step::ServerFirst,
            (State::Asked, Some(response)) => match Response::parse(response.expose()) {
                Ok(response) => {
                    let login = response.login.clone();
                    self.state = State::Lookup(response);
                    Step::Lookup {
                        login,
                        wants: Wants::CramMd5,
                    }
                }
                Err(reason) => Step::Failed(reason),
            },
            (State::Asked, None) => Step::Failed("a response is missing"),
            (State::Lookup(_) | State::Done, _) => Step::Failed("the exchange is over"),
        }
    }

    fn supply(&mut self, supply: Supply) -> Step {
        let State::Lookup(response) = std::mem::replace(&mut self.state, State::Done) else {
            return Step::Failed("nothing was asked for");
        };
        let (contexts, real) = match supply {
            Supply::CramMd5(contexts) => (contexts, true),
            Supply::Cleartext(password) => (CramContexts::of(password.expose()), true),
            // Costs the same.
            _ => (CramContexts::of(&self.parameters.decoy_key), false),
        };
        let fits = response.fits(self.challenge.as_bytes(), &contexts);
        if fits && real {
            return Step::Authenticated {
                login: response.login,
            };
        }
        Step::Denied {
            login: Some(response.login),
            reason: if real {
                "wrong password"
            } else {
                "no such mailbox, or no password is stored that CRAM-MD5 could use"
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &[u8] = b"<1896.697170952@postoffice.reston.mci.net>";
    const RESPONSE: &[u8] = b"tim b913a602c7eda7a495b4e6e7334d3890";

    /// RFC 2195 2.
    #[test]
    fn rfc_2195() {
        assert!(verify(CHALLENGE, RESPONSE, &Secret::new("tanstaaftanstaaf")));
        assert!(!verify(CHALLENGE, RESPONSE, &Secret::new("Tanstaaftanstaaf")));
        assert!(!verify(b"<1@x>", RESPONSE, &Secret::new("tanstaaftanstaaf")));
        let mut cram = CramMd5::new(Parameters::example());
        cram.challenge = String::from_utf8(CHALLENGE.to_vec()).unwrap();
        assert_eq!(cram.step(None), Step::Challenge(CHALLENGE.to_vec()));
        let Step::Lookup { login, wants } = cram.step(Some(Secret::new(RESPONSE))) else {
            panic!()
        };
        assert_eq!((login.as_str(), wants), ("tim", Wants::CramMd5));
        let step = cram.supply(Supply::Cleartext(Secret::new("tanstaaftanstaaf")));
        assert_eq!(
            step,
            Step::Authenticated {
                login: "tim".to_owned()
            }
        );
        assert!(matches!(cram.supply(Supply::Missing), Step::Failed(_)));
    }

    fn run(response: &[u8], supply: Supply) -> Step {
        let mut cram = CramMd5::new(Parameters::example());
        let Step::Challenge(challenge) = cram.step(None) else {
            panic!()
        };
        assert!(challenge.starts_with(b"<") && challenge.ends_with(b".1700000000@mail.example.com>"));
        let hex = CramContexts::of(b"secret").hmac(&challenge).unwrap();
        let hex: String = hex.iter().map(|byte| format!("{byte:02X}")).collect();
        let response = [response, hex.as_bytes()].concat();
        match cram.step(Some(Secret::new(response))) {
            Step::Lookup { .. } => cram.supply(supply),
            other => other,
        }
    }

    #[test]
    fn right_and_wrong() {
        let step = run(b"u name@d.test ", Supply::CramMd5(CramContexts::of(b"secret")));
        assert_eq!(
            step,
            Step::Authenticated {
                login: "u name@d.test".to_owned()
            }
        );
        for supply in [Supply::Cleartext(Secret::new("other")), Supply::Missing] {
            assert!(matches!(run(b"u ", supply), Step::Denied { login: Some(_), .. }));
        }
        for bad in [&b""[..], b" ", b"u", b"u\0 ", b"u 0", b"\xff "] {
            assert!(matches!(run(bad, Supply::Missing), Step::Failed(_)), "{bad:?}");
        }
        let mut cram = CramMd5::new(Parameters::example());
        assert_eq!(cram.step(Some(Secret::new(RESPONSE))), Step::ServerFirst);
    }

    #[test]
    fn challenges_differ() {
        let other = Parameters {
            random: [8; 32],
            ..Parameters::example()
        };
        assert_ne!(
            CramMd5::new(other).challenge,
            CramMd5::new(Parameters::example()).challenge
        );
    }
}
