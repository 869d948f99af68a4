//! OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's): the client shows a token that somebody else gave it.

use mail_types::Secret;

use super::{MAX_RESPONSE, Mechanism, Step, Supply, login_name};

/// The two ways to say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// RFC 7628.
    OauthBearer,
    /// The older one.
    Xoauth2,
}

/// One exchange.
pub struct Bearer {
    form: Form,
    state: State,
}

enum State {
    Start,
    /// The token is being checked.
    Check {
        login: Option<String>,
    },
    /// The client was told why not, and has to answer.
    Refused {
        login: Option<String>,
        reason: &'static str,
    },
    Done,
}

/// What the client sent.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    login: Option<String>,
    token: Secret,
}

impl Bearer {
    /// Begins an exchange.
    pub fn new(form: Form) -> Self {
        Self {
            form,
            state: State::Start,
        }
    }

    fn read(&self, message: &[u8]) -> Result<Message, &'static str> {
        if message.len() > MAX_RESPONSE {
            return Err("the response is too long");
        }
        let mut parts = message.split(|byte| *byte == 1);
        let first = parts.next().unwrap_or_default();
        let login = match self.form {
            Form::OauthBearer => gs2_header(first)?,
            Form::Xoauth2 => Some(login_name(
                first.strip_prefix(b"user=").ok_or("the user is missing")?,
            )?),
        };
        // Each pair ends with ^A, the message with one more.
        let mut pairs: Vec<&[u8]> = parts.collect();
        if pairs.pop() != Some(b"") || pairs.pop() != Some(b"") {
            return Err("the message is cut off");
        }
        let mut found = None;
        for pair in pairs {
            let at = pair
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or("a pair has no value")?;
            let (key, value) = (&pair[..at], &pair[at + 1..]);
            if key.is_empty() || !key.iter().all(u8::is_ascii_alphabetic) {
                return Err("a key is damaged");
            }
            if key.eq_ignore_ascii_case(b"auth") && found.replace(token(value)?).is_some() {
                return Err("there are two tokens");
            }
        }
        Ok(Message {
            login,
            token: found.ok_or("the token is missing")?,
        })
    }

    /// The JSON that tells the client why not.
    fn refusal(&self, openid_configuration: Option<&str>) -> String {
        match (self.form, openid_configuration) {
            (Form::Xoauth2, _) => r#"{"status":"401","schemes":"bearer","scope":"mail"}"#.to_owned(),
            (Form::OauthBearer, None) => r#"{"status":"invalid_token"}"#.to_owned(),
            (Form::OauthBearer, Some(url)) => {
                let mut text = String::new();
                for character in url.chars().filter(|character| !character.is_control()) {
                    if matches!(character, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(character);
                }
                format!(r#"{{"status":"invalid_token","openid-configuration":"{text}"}}"#)
            }
        }
    }
}

/// `n,[a=authzid],`: a channel binding is not possible.
fn gs2_header(header: &[u8]) -> Result<Option<String>, &'static str> {
    let header = std::str::from_utf8(header).map_err(|_| "the message is not UTF-8")?;
    let rest = header.strip_prefix("n,").or_else(|| header.strip_prefix("y,"));
    let authzid = rest
        .and_then(|rest| rest.strip_suffix(','))
        .ok_or("the GS2 header is damaged")?;
    match authzid {
        "" => Ok(None),
        text => {
            let name = text.strip_prefix("a=").ok_or("the GS2 header is damaged")?;
            Ok(Some(login_name(super::saslname(name)?.as_bytes())?))
        }
    }
}

/// `Bearer TOKEN`, the token in the characters of RFC 6750 2.1.
fn token(value: &[u8]) -> Result<Secret, &'static str> {
    let (scheme, token) = value.split_at_checked(7).ok_or("the token is missing")?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return Err("only bearer tokens are possible");
    }
    let token = token.trim_ascii();
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if token.is_empty() || !token.iter().all(good) {
        return Err("the token is empty or damaged");
    }
    Ok(Secret::new(token))
}

impl Mechanism for Bearer {
    fn step(&mut self, response: Option<Secret>) -> Step {
        let state = std::mem::replace(&mut self.state, State::Done);
        match (state, response) {
            (State::Start, None) => {
                self.state = State::Start;
                Step::Challenge(Vec::new())
            }
            (State::Start, Some(response)) => match self.read(response.expose()) {
                Ok(Message { login, token }) => {
                    self.state = State::Check { login: login.clone() };
                    Step::CheckToken { login, token }
                }
                Err(reason) => Step::Failed(reason),
            },
            // Whatever the client answers: its dummy (RFC 7628 3.2.3) or nothing.
            (State::Refused { login, reason }, _) => Step::Denied { login, reason },
            (State::Check { .. } | State::Done, _) => Step::Failed("the exchange is over"),
        }
    }

    fn supply(&mut self, supply: Supply) -> Step {
        let state = std::mem::replace(&mut self.state, State::Done);
        match (state, supply) {
            (
                State::Check { login },
                Supply::TokenRefused {
                    reason,
                    openid_configuration,
                },
            ) => {
                self.state = State::Refused { login, reason };
                Step::Challenge(self.refusal(openid_configuration.as_deref()).into_bytes())
            }
            _ => Step::Failed("nothing was asked for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";

    fn step(form: Form, message: &[u8]) -> Step {
        Bearer::new(form).step(Some(Secret::new(message)))
    }

    /// RFC 7628 4.1, and the example of Google's page.
    #[test]
    fn examples() {
        let message = format!(
            "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer {TOKEN}\x01\x01"
        );
        let expected = Step::CheckToken {
            login: Some("user@example.com".to_owned()),
            token: Secret::new(TOKEN),
        };
        assert_eq!(step(Form::OauthBearer, message.as_bytes()), expected);
        let message = format!("user=user@example.com\x01auth=bEARER {TOKEN}\x01\x01");
        assert_eq!(step(Form::Xoauth2, message.as_bytes()), expected);
        let message = format!("n,,\x01auth=Bearer {TOKEN}\x01\x01");
        assert!(matches!(
            step(Form::OauthBearer, message.as_bytes()),
            Step::CheckToken { login: None, .. }
        ));
    }

    /// RFC 7628 4.3: the error, the dummy, the end.
    #[test]
    fn refused() {
        for (form, message, json) in [
            (
                Form::OauthBearer,
                "n,,\x01auth=Bearer x\x01\x01",
                r#"{"status":"invalid_token","openid-configuration":"https://a.test/\"x"}"#,
            ),
            (
                Form::Xoauth2,
                "user=u\x01auth=Bearer x\x01\x01",
                r#"{"status":"401","schemes":"bearer","scope":"mail"}"#,
            ),
        ] {
            let mut bearer = Bearer::new(form);
            assert_eq!(bearer.step(None), Step::Challenge(Vec::new()));
            bearer.step(Some(Secret::new(message)));
            let step = bearer.supply(Supply::TokenRefused {
                reason: "expired",
                openid_configuration: Some("https://a.test/\"x\n".to_owned()),
            });
            assert_eq!(step, Step::Challenge(json.as_bytes().to_vec()));
            let Step::Denied { reason, .. } = bearer.step(Some(Secret::new("\x01"))) else {
                panic!()
            };
            assert_eq!(reason, "expired");
            assert!(matches!(bearer.step(None), Step::Failed(_)));
        }
    }

    #[test]
    fn bad_messages() {
        for message in [
            "",
            "\x01",
            "n,,",
            "n,,\x01\x01",
            "n,,\x01auth=Bearer x\x01",
            "n,,\x01auth=Bearer \x01\x01",
            "n,,\x01auth=Basic x\x01\x01",
            "n,,\x01auth=Bearer a b\x01\x01",
            "p=tls-exporter,,\x01auth=Bearer x\x01\x01",
            "n,b=u,\x01auth=Bearer x\x01\x01",
            "n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01",
            "n,,\x01=x\x01\x01",
            "n,,\x01host\x01auth=Bearer x\x01\x01",
            "n,a=u\x02,\x01auth=Bearer x\x01\x01",
        ] {
            assert!(
                matches!(step(Form::OauthBearer, message.as_bytes()), Step::Failed(_)),
                "{message:?}"
            );
        }
        for message in [
            "user=\x01auth=Bearer x\x01\x01",
            "auth=Bearer x\x01\x01",
            "user=u\x01\x01",
        ] {
            assert!(
                matches!(step(Form::Xoauth2, message.as_bytes()), Step::Failed(_)),
                "{message:?}"
            );
        }
        assert!(matches!(
            step(Form::Xoauth2, &[b'x'; 65_536]),
            Step::Failed("the response is too long")
        ));
    }

    proptest! {
        #[test]
        fn never_panics(message in any::<Vec<u8>>()) {
            step(Form::OauthBearer, &message);
            step(Form::Xoauth2, &message);
        }
    }
}
