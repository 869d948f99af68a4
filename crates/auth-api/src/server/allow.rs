//! Which role may call which method: the whole table in one place.

use tonic::Status;

use crate::Role;

/// The methods that roles are told apart by. All of Admin counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Directory.ResolveRecipient
    ResolveRecipient,
    /// Directory.Route
    Route,
    /// Directory.LookupMailbox
    LookupMailbox,
    /// Directory.CheckSenderLogin
    CheckSenderLogin,
    /// Directory.CheckAccess
    CheckAccess,
    /// Directory.Vacation
    Vacation,
    /// Directory.Usage
    Usage,
    /// Directory.Explain
    Explain,
    /// Sasl.Mechanisms, Sasl.Authenticate and Sasl.StillValid
    Sasl,
    /// The rest of Sasl: what is known about logins
    LoginReports,
    /// Every method of Admin
    Admin,
}

/// Lets the call pass, or answers PERMISSION_DENIED.
pub fn check(role: Role, method: Method) -> Result<(), Status> {
    if allowed(role, method) {
        return Ok(());
    }
    tracing::warn!(
        role = role.as_str(),
        ?method,
        "a call that this role may not make"
    );
    Err(Status::permission_denied(format!(
        "the {} socket does not serve this method",
        role.as_str()
    )))
}

fn allowed(role: Role, method: Method) -> bool {
    match role {
        Role::Smtpd => matches!(
            method,
            Method::ResolveRecipient | Method::CheckSenderLogin | Method::CheckAccess | Method::Sasl
        ),
        Role::Qmgr => matches!(method, Method::ResolveRecipient | Method::Route),
        Role::Deliver => matches!(method, Method::LookupMailbox | Method::Vacation),
        Role::Imapd | Role::Pop3d => matches!(method, Method::Sasl | Method::LookupMailbox),
        Role::Admin => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_admin_socket_administers() {
        for role in Role::ALL {
            for method in [Method::Admin, Method::Explain, Method::Usage] {
                assert_eq!(check(role, method).is_ok(), role == Role::Admin, "{method:?}");
            }
        }
    }

    #[test]
    fn only_the_admin_socket_tells_about_logins() {
        for role in Role::ALL {
            assert_eq!(check(role, Method::LoginReports).is_ok(), role == Role::Admin);
        }
    }

    #[test]
    fn deliver_cannot_try_passwords() {
        let status = check(Role::Deliver, Method::Sasl).unwrap_err();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
    }
}
