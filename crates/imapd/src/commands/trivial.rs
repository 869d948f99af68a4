//! CAPABILITY, LOGOUT, ID, ENABLE, NAMESPACE.

use imap_proto::response::{Response, Status};

use crate::error::{End, Stop, Tagged};
use crate::session::Session;

/// RFC 3501 6.1.1.
pub(super) async fn capability(session: &mut Session) -> Result<Tagged, Stop> {
    let names = session.capabilities().await;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Response::Capability(&names).encode(&mut session.wire.out);
    Ok(Tagged::ok("CAPABILITY completed"))
}

/// RFC 3501 6.1.3.
pub(super) fn logout(session: &mut Session, tag: &str) -> Result<Tagged, Stop> {
    session.untagged(Status::Bye, None, "Logging out");
    Tagged::ok("LOGOUT completed").encode(tag, &mut session.wire.out);
    Err(End::Logout.into())
}

/// RFC 2971. What the client says goes to the log, escaped; what we say is no more than a name, as anybody
/// may ask.
pub(super) fn id(session: &mut Session, pairs: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<Tagged, Stop> {
    let shown: Vec<String> = pairs
        .iter()
        .take(5)
        .map(|(name, value)| {
            let value = value.as_deref().unwrap_or_default();
            format!(
                "{}={}",
                name.escape_ascii(),
                value[..value.len().min(60)].escape_ascii()
            )
        })
        .collect();
    tracing::debug!(session = %session.context.session, client = shown.join(" "), "ID");
    Response::Id(&[("name", "Postrider")]).encode(&mut session.wire.out);
    Ok(Tagged::ok("ID completed"))
}

/// RFC 5161: there is nothing to enable yet, and asking for the unknown is no error.
pub(super) fn enable(session: &mut Session) -> Result<Tagged, Stop> {
    Response::Enabled(&[]).encode(&mut session.wire.out);
    Ok(Tagged::ok("ENABLE completed"))
}

/// RFC 2342.
pub(super) fn namespace(session: &mut Session) -> Result<Tagged, Stop> {
    Response::Namespace {
        prefix: "",
        separator: '.',
    }
    .encode(&mut session.wire.out);
    Ok(Tagged::ok("NAMESPACE completed"))
}
