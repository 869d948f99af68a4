//! Makes a message fit what a server announced: SIZE, SMTPUTF8, 8BITMIME, DSN. Never sends what it does not take.

use mail_types::{EnhancedStatus, Reply};
use smtp_proto::client::Extensions;
use smtp_proto::command::Mail;
use spool::BodyType;

use super::content::Content;
use super::convert::to_seven_bit;
use crate::message::Parcel;

/// A message that fits.
pub(crate) struct Fitted {
    pub(crate) mail: Mail,
    /// The converted text, where the original does not fit.
    pub(crate) converted: Option<Content>,
}

/// The MAIL command and, where it is needed, the converted message. The error is the reason of a bounce, or
/// of another try where the message could not be read.
pub(crate) async fn fit(
    parcel: &Parcel,
    content: &Content,
    header: &[u8],
    extensions: &Extensions,
) -> Result<Fitted, Reply> {
    let envelope = &parcel.envelope;
    let mut mail = Mail::new(envelope.sender.clone());
    let international = envelope
        .sender
        .address()
        .is_some_and(mail_types::Address::needs_utf8)
        || parcel.recipients.iter().any(|r| r.final_address.needs_utf8())
        || (envelope.smtputf8 && (!header.is_ascii() || !envelope.top.is_ascii()));
    if international && !extensions.has("SMTPUTF8") {
        let text = "SMTPUTF8 is required, but was not offered by the server";
        return Err(Reply::new(553, EnhancedStatus::new(5, 6, 7), text));
    }
    mail.params.smtputf8 = international || (envelope.smtputf8 && extensions.has("SMTPUTF8"));
    let mut converted = None;
    if envelope.body == BodyType::EightBit && extensions.has("8BITMIME") {
        mail.params.eight_bit = true;
    } else if envelope.body == BodyType::EightBit {
        let whole = content.all().await.map_err(|e| {
            Reply::new(
                451,
                EnhancedStatus::new(4, 3, 0),
                format!("the message cannot be converted: {e}"),
            )
        })?;
        if !whole.is_ascii() {
            let converting = daemon::blocking(move || to_seven_bit(&whole)).await;
            let bytes = converting
                .map_err(|e| Reply::new(451, EnhancedStatus::new(4, 3, 0), e.to_string()))?
                .map_err(|e| {
                    let text = format!(
                        "8BITMIME was not offered by the server, and the message cannot be converted: {e}"
                    );
                    Reply::new(554, EnhancedStatus::new(5, 6, 3), text)
                })?;
            converted = Some(Content::Memory(bytes));
        }
    }
    let size = converted.as_ref().unwrap_or(content).len();
    if extensions.size().is_some_and(|limit| size > limit) {
        let text = format!("the message has {size} octets, more than the server takes");
        return Err(Reply::new(552, EnhancedStatus::new(5, 3, 4), text));
    }
    mail.params.size = Some(size);
    mail.params.ret = envelope.ret;
    mail.params.envid = envelope.envid.clone();
    Ok(Fitted { mail, converted })
}
