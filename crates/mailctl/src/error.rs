//! What an operator hears when something does not work: what, and what to do about it.

use std::process::ExitCode;

use auth_api::Unavailable;
use auth_api::admin::AdminError;
use queue_api::QueueError;
use serde_json::json;

/// The check found something.
pub(crate) const FINDINGS: u8 = 1;
/// EX_USAGE.
pub(crate) const WRONG_ARGUMENTS: u8 = 64;
/// EX_DATAERR.
const BAD_REQUEST: u8 = 65;
/// EX_NOINPUT.
const NOT_FOUND: u8 = 66;
/// EX_NOUSER.
pub(crate) const REFUSED: u8 = 67;
/// EX_UNAVAILABLE.
const UNREACHABLE: u8 = 69;
/// EX_SOFTWARE.
const INTERNAL: u8 = 70;
/// EX_TEMPFAIL.
pub(crate) const TRY_LATER: u8 = 75;
/// EX_NOPERM.
const DENIED: u8 = 77;
/// EX_CONFIG.
const WRONG_CONFIG: u8 = 78;

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    hint: String,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(BAD_REQUEST, message, hint)
    }

    /// What was named does not exist.
    pub(crate) fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(NOT_FOUND, message, hint)
    }

    /// A daemon or file cannot be reached.
    pub(crate) fn unreachable(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(UNREACHABLE, message, hint)
    }

    /// A temporary trouble of a daemon.
    pub(crate) fn try_later(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(TRY_LATER, message, hint)
    }

    /// A login was denied, or the caller may not do this.
    pub(crate) fn denied(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(DENIED, message, hint)
    }

    /// The configuration is wrong.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(WRONG_CONFIG, message, "")
    }

    /// Something that should not happen.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(INTERNAL, message, "")
    }

    /// The findings were printed already; only the exit status is left to say.
    pub(crate) fn findings() -> Self {
        Self::new(FINDINGS, "", "")
    }

    /// The answer was printed already; the exit status says it once more.
    pub(crate) fn said(code: u8) -> Self {
        Self::new(code, "", "")
    }

    /// Prints it on standard error.
    pub(crate) fn report(&self, as_json: bool) -> ExitCode {
        if as_json && !self.message.is_empty() {
            eprintln!(
                "{}",
                json!({ "error": self.message, "hint": self.hint, "code": self.code })
            );
        } else if !self.message.is_empty() {
            for line in self.message.lines() {
                eprintln!("mailctl: {line}");
            }
            if !self.hint.is_empty() {
                eprintln!("  {}", self.hint);
            }
        }
        ExitCode::from(self.code)
    }
}

impl From<Unavailable> for Failure {
    fn from(error: Unavailable) -> Self {
        Self::try_later(
            error.to_string(),
            "authd or its database is away; look at authd's log (journalctl -u postrider-authd) and try again",
        )
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Unavailable(error) => error.into(),
            AdminError::NotFound(message) => Self::not_found(
                message,
                "see what there is: mailctl domain list, mailbox list, alias list, admin list",
            ),
            AdminError::Exists(message) => {
                Self::bad_request(message, "use `set` in place of `add` to change what is there")
            }
            AdminError::Invalid(message) => Self::bad_request(message, ""),
            AdminError::Denied(message) => Self::denied(message, ""),
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::NotFound(_) => Self::not_found(
                error.to_string(),
                "it may be delivered already: mailctl trace ID tells; mailctl queue list shows what waits",
            ),
            QueueError::Unavailable(_) => Self::try_later(
                error.to_string(),
                "look at qmgr's log (journalctl -u postrider-qmgr) and try again",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_administrator_did_wrong_is_not_to_be_tried_later() {
        let code = |error: AdminError| Failure::from(error).code;
        assert_eq!(code(AdminError::Unavailable(Unavailable::new("x"))), TRY_LATER);
        assert_eq!(code(AdminError::Denied("no INSERT".into())), DENIED);
        assert_eq!(code(AdminError::Invalid("x".into())), BAD_REQUEST);
        assert_eq!(code(AdminError::NotFound("x".into())), NOT_FOUND);
    }
}
