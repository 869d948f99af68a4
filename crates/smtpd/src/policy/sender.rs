//! Whether a user may send as the address that he names, in the envelope and in the From field.

use auth_api::directory::SenderLogin;
use auth_api::{Trace, Unavailable};
use mail_types::{Address, Reply, ReversePath};

use crate::directory::Directory;
use crate::error;

/// A refusal and why.
pub type Refusal = (Reply, String);

/// The envelope sender of a user (`reject_sender_login_mismatch`). Anybody may send reports with `<>`.
pub async fn check_envelope<D: Directory>(
    directory: &D,
    login: &Address,
    sender: &ReversePath,
    trace: Trace,
) -> Result<(), Refusal> {
    let Some(sender) = sender.address() else {
        return Ok(());
    };
    verdict(
        directory.check_sender_login(login, sender, trace).await,
        &sender.to_string(),
        || error::sender_not_owned(sender, login),
    )
}

/// The addresses of the From field: each must be the user's (robustness.md S70). `None` is a field that two
/// programs may read in two ways.
pub async fn check_from<D: Directory>(
    directory: &D,
    login: &Address,
    from: Option<&[Address]>,
    trace: Trace,
) -> Result<(), Refusal> {
    let Some(addresses) = from else {
        return Err((
            error::from_unusable(),
            "From field is empty, doubled or ambiguous".to_owned(),
        ));
    };
    for address in addresses {
        verdict(
            directory.check_sender_login(login, address, trace).await,
            &address.to_string(),
            || error::from_not_owned(login),
        )?;
    }
    Ok(())
}

fn verdict(
    answer: Result<SenderLogin, Unavailable>,
    address: &str,
    refusal: impl FnOnce() -> Reply,
) -> Result<(), Refusal> {
    match answer {
        Ok(SenderLogin::Owned) => Ok(()),
        Ok(SenderLogin::NotOwned) => Err((refusal(), format!("{address} is not the user's"))),
        Err(unavailable) => Err((error::lookup_failure(address), unavailable.to_string())),
    }
}
