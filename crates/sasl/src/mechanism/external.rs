//! EXTERNAL (RFC 4422 A): the certificate that the client showed in the TLS handshake names the mailbox.

use mail_types::Secret;

use super::{Mechanism, Parameters, Step, login_name};

/// One exchange.
pub struct External {
    names: Vec<String>,
    done: bool,
}

impl External {
    /// Begins an exchange.
    pub fn new(parameters: Parameters) -> Self {
        Self {
            names: parameters.certificate_names,
            done: false,
        }
    }

    /// The name of the certificate that is meant: the one asked for, or the only one.
    fn chosen(&self, authzid: &[u8]) -> Result<Step, &'static str> {
        if authzid.is_empty() {
            return match &self.names[..] {
                [] => Err("the connection has no certificate of the client with a mailbox name"),
                [login] => Ok(Step::Authenticated {
                    login: login_name(login.as_bytes())?,
                }),
                _ => Err("the certificate names several mailboxes, and the client chose none"),
            };
        }
        let authzid = login_name(authzid)?;
        match self.names.iter().find(|name| name.eq_ignore_ascii_case(&authzid)) {
            Some(login) => Ok(Step::Authenticated {
                login: login_name(login.as_bytes())?,
            }),
            None => Ok(Step::Denied {
                login: Some(authzid),
                reason: "the certificate does not name this mailbox",
            }),
        }
    }
}

impl Mechanism for External {
    fn step(&mut self, response: Option<Secret>) -> Step {
        if self.done {
            return Step::Failed("the exchange is over");
        }
        let Some(response) = response else {
            return Step::Challenge(Vec::new());
        };
        self.done = true;
        self.chosen(response.expose()).unwrap_or_else(Step::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(names: &[&str], authzid: &str) -> Step {
        let parameters = Parameters {
            certificate_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Parameters::example()
        };
        let mut external = External::new(parameters);
        assert_eq!(external.step(None), Step::Challenge(Vec::new()));
        let verdict = external.step(Some(Secret::new(authzid)));
        assert!(matches!(external.step(Some(Secret::new(""))), Step::Failed(_)));
        verdict
    }

    #[test]
    fn the_certificate_decides() {
        let in_as = |login: &str| Step::Authenticated {
            login: login.to_owned(),
        };
        assert_eq!(run(&["u@d.test"], ""), in_as("u@d.test"));
        assert_eq!(run(&["u@d.test"], "U@D.test"), in_as("u@d.test"));
        assert_eq!(run(&["u@d.test", "v@d.test"], "v@d.test"), in_as("v@d.test"));
        assert!(matches!(run(&["u@d.test", "v@d.test"], ""), Step::Failed(_)));
        assert!(matches!(run(&["u@d.test"], "boss@d.test"), Step::Denied { .. }));
        for names in [&[][..], &["u\0@d.test"], &[""]] {
            assert!(matches!(run(names, ""), Step::Failed(_)));
        }
        assert!(matches!(run(&[], "u@d.test"), Step::Denied { .. }));
    }
}
