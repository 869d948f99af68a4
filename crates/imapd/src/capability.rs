//! What is offered, by state of the session.

/// What authd always offers; announced while it has never answered, because a greeting does not wait.
pub(crate) const MECHANISMS: [&str; 2] = ["PLAIN", "LOGIN"];

/// Before the login.
const BEFORE: [&str; 4] = ["IMAP4rev1", "LITERAL+", "SASL-IR", "ID"];

/// After it.
pub(crate) const AFTER: [&str; 12] = [
    "IMAP4rev1",
    "LITERAL+",
    "ID",
    "ENABLE",
    "NAMESPACE",
    "IDLE",
    "UIDPLUS",
    "UNSELECT",
    "MOVE",
    "CHILDREN",
    "SPECIAL-USE",
    "SASL-IR",
];

/// The capabilities before the login. `starttls`: it can still be asked for; `login`: a password may be sent.
pub(crate) fn before_login(starttls: bool, login: bool, mechanisms: &[String]) -> Vec<String> {
    let mut list: Vec<String> = BEFORE.iter().map(|name| (*name).to_owned()).collect();
    if starttls {
        list.push("STARTTLS".to_owned());
    }
    if login {
        list.extend(mechanisms.iter().map(|mechanism| format!("AUTH={mechanism}")));
    } else {
        list.push("LOGINDISABLED".to_owned());
    }
    list
}
