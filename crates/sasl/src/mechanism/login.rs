//! LOGIN (draft-murchison-sasl-login-00): the name and the password, each asked for.

use mail_types::Secret;

use super::{Credentials, MAX_RESPONSE, Mechanism, Step};

/// Where the exchange stands.
#[derive(Debug, Default)]
pub enum Login {
    /// Nothing is known yet.
    #[default]
    Start,
    /// The name was asked for.
    Name,
    /// The password was asked for.
    Password {
        /// The name, unchecked.
        name: Secret,
    },
    /// Over.
    Done,
}

impl Mechanism for Login {
    fn step(&mut self, response: Option<Secret>) -> Step {
        if response.as_ref().is_some_and(|r| r.expose().len() > MAX_RESPONSE) {
            *self = Self::Done;
            return Step::Failed("the response is too long");
        }
        match (std::mem::replace(self, Self::Done), response) {
            (Self::Start, None) => {
                *self = Self::Name;
                Step::Challenge(b"Username:".to_vec())
            }
            // A client may send the name as initial response.
            (Self::Start | Self::Name, Some(name)) => {
                *self = Self::Password { name };
                Step::Challenge(b"Password:".to_vec())
            }
            (Self::Password { name }, Some(password)) => match Credentials::new(name.expose(), password) {
                Ok(credentials) => Step::CheckPassword(credentials),
                Err(reason) => Step::Failed(reason),
            },
            (Self::Name | Self::Password { .. }, None) => Step::Failed("a response is missing"),
            (Self::Done, _) => Step::Failed("the exchange is over"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::new(text))
    }

    #[test]
    fn asks_for_name_and_password() {
        let mut login = Login::default();
        assert_eq!(login.step(None), Step::Challenge(b"Username:".to_vec()));
        assert_eq!(
            login.step(secret("u@d.test")),
            Step::Challenge(b"Password:".to_vec())
        );
        let Step::CheckPassword(credentials) = login.step(secret("pw")) else {
            panic!()
        };
        assert_eq!(credentials.login, "u@d.test");
        assert!(matches!(login.step(secret("again")), Step::Failed(_)));
    }

    #[test]
    fn the_name_may_come_first() {
        let mut login = Login::default();
        assert_eq!(login.step(secret("u")), Step::Challenge(b"Password:".to_vec()));
        assert!(matches!(login.step(secret("pw")), Step::CheckPassword(_)));
    }

    #[test]
    fn bad_input_fails() {
        let mut login = Login::default();
        login.step(secret(""));
        assert!(matches!(login.step(secret("pw")), Step::Failed(_)));
        let mut login = Login::default();
        assert!(matches!(login.step(secret(&"x".repeat(12_289))), Step::Failed(_)));
    }
}
