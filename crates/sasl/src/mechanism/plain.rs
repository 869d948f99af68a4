//! PLAIN (RFC 4616): `[authzid] NUL authcid NUL passwd` in one message.

use mail_types::Secret;

use super::{Credentials, MAX_RESPONSE, Mechanism, Step};

/// PLAIN needs no state: the one response is the whole exchange.
#[derive(Debug)]
pub struct Plain;

impl Mechanism for Plain {
    fn step(&mut self, response: Option<Secret>) -> Step {
        let Some(response) = response else {
            return Step::Challenge(Vec::new());
        };
        match parse(response.expose()) {
            Ok(credentials) => Step::CheckPassword(credentials),
            Err(reason) => Step::Failed(reason),
        }
    }
}

/// Splits the message; acting for somebody else (authzid is not authcid) is refused.
fn parse(message: &[u8]) -> Result<Credentials, &'static str> {
    if message.len() > MAX_RESPONSE {
        return Err("the response is too long");
    }
    let mut parts = message.split(|byte| *byte == 0);
    let (Some(authzid), Some(authcid), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("a PLAIN message has two NULs");
    };
    if !authzid.is_empty() && authzid != authcid {
        return Err("acting for another user is not possible");
    }
    Credentials::new(authcid, Secret::new(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(message: &[u8]) -> Step {
        Plain.step(Some(Secret::new(message)))
    }

    /// RFC 4616 4, the first example, and the same with an equal authzid.
    #[test]
    fn examples() {
        for message in [&b"\0tim\0tanstaaftanstaaf"[..], b"tim\0tim\0tanstaaftanstaaf"] {
            let Step::CheckPassword(credentials) = step(message) else {
                panic!()
            };
            assert_eq!(credentials.login, "tim");
            assert!(credentials.password == Secret::new("tanstaaftanstaaf"));
        }
    }

    #[test]
    fn waits_for_the_response() {
        assert_eq!(Plain.step(None), Step::Challenge(vec![]));
    }

    /// robustness.md A02, A03: the second RFC example (authzid Kurt) too.
    #[test]
    fn bad_messages_fail() {
        for message in [
            &b""[..],
            b"\0\0",
            b"u",
            b"\0u\0p\0x",
            b"boss\0u\0pw-of-u",
            b"Kurt\0xipj3plmq\0pw",
            b"\0u\0",
            b"\0\0pw",
            &[0; 20_000],
        ] {
            assert!(matches!(step(message), Step::Failed(_)), "{message:?}");
        }
    }
}
