//! LookupMailbox: where a mailbox lies, and whether its row may be believed (robustness.md A16).

use auth_api::directory::{Mailbox, MailboxAnswer, Usage};
use mail_types::Address;

use super::ask::Ask;
use super::backend::{Found, LoginRow, MailboxRow};
use super::domains::Kind;
use super::{Directory, DirectoryError, Steps};

impl Directory {
    /// The mailbox of a final address.
    pub async fn lookup_mailbox(
        &self,
        address: &Address,
        steps: &mut Steps,
    ) -> Result<MailboxAnswer, DirectoryError> {
        steps.at(&address.lookup_key(), 0);
        Ok(match self.ask(steps).await?.mailbox_at(address).await? {
            Ok(row) => self.usable(&row),
            Err(refusal) => MailboxAnswer::Unknown(refusal),
        })
    }

    /// How full the mailbox of a final address is, as the tables say.
    pub async fn usage(&self, address: &Address, steps: &mut Steps) -> Result<Usage, DirectoryError> {
        steps.at(&address.lookup_key(), 0);
        let mut ask = self.ask(steps).await?;
        let row = match ask.mailbox_at(address).await? {
            Ok(row) => row,
            Err(refusal) => return Ok(Usage::Unknown(refusal)),
        };
        if !ask.can.usage {
            return Ok(Usage::NotCounted);
        }
        let found = self.backend.usage(&row.username).await?;
        Ok(match found.row {
            Some(usage) => Usage::Found {
                // Negative counts are what panels write by mistake.
                bytes: u64::try_from(usage.bytes).unwrap_or(0),
                messages: u64::try_from(usage.messages).unwrap_or(0),
            },
            None => Usage::NotCounted,
        })
    }

    /// What the login of a mailbox rests on. No extension, no alias: the login is the mailbox's own address.
    pub async fn login_row(&self, login: &Address) -> Result<Found<LoginRow>, DirectoryError> {
        Ok(self.backend.login(&login.lookup_key()).await?)
    }

    /// The mailbox of a row, or why it cannot be used.
    pub(crate) fn usable(&self, row: &MailboxRow) -> MailboxAnswer {
        let Ok(address) = Address::parse(&row.username).or_else(|_| unquoted(&row.username)) else {
            return MailboxAnswer::Misconfigured("mailbox.username is not an address".into());
        };
        let (uid, gid) = match self.owner(row) {
            Ok(owner) => owner,
            Err(reason) => {
                return MailboxAnswer::Misconfigured(format!("the mailbox of {} {reason}", row.username));
            }
        };
        match clean_path(&row.maildir) {
            Ok(maildir) => MailboxAnswer::Found(Mailbox {
                address,
                maildir,
                uid,
                gid,
                // 0 is unlimited, negative is "not set".
                quota: u64::try_from(row.quota).unwrap_or(0),
            }),
            Err(reason) => {
                MailboxAnswer::Misconfigured(format!("mailbox.maildir of {} {reason}", row.username))
            }
        }
    }
}

impl Directory {
    /// Owner and group of a mailbox: what its row says, where that can be believed. (Whether the daemons can
    /// act for this owner they say themselves.)
    fn owner(&self, row: &MailboxRow) -> Result<(u32, u32), String> {
        let (uid, gid) = (
            row.uid.unwrap_or(self.rules.owner.0),
            row.gid.unwrap_or(self.rules.owner.1),
        );
        if uid == 0 || gid == 0 {
            return Err("names uid or gid 0: root owns no mail".to_owned());
        }
        if uid < self.rules.minimum_uid {
            return Err(format!(
                "names uid {uid}, below virtual_minimum_uid ({})",
                self.rules.minimum_uid
            ));
        }
        Ok((uid, gid))
    }
}

impl Ask<'_> {
    /// The active mailbox row of a final address, or what somebody hears who writes to it.
    async fn mailbox_at(
        &mut self,
        address: &Address,
    ) -> Result<Result<MailboxRow, auth_api::directory::Refusal>, DirectoryError> {
        let info = self.domain(address.domain()).await?;
        let row = match info.kind {
            Kind::Mailbox | Kind::Mirror | Kind::Local => self.mailbox_here(address, &info).await?,
            _ => None,
        };
        match row {
            Some(row) => Ok(Ok(row)),
            None if self.steps.from_replica() => Err(DirectoryError::Unsure(address.to_string())),
            None => Ok(Err(info.unknown_user())),
        }
    }
}

/// The same user at another domain.
pub(super) fn rehomed(address: &Address, domain: &mail_types::Domain) -> Address {
    // The local part was valid before; the fallback is unreachable.
    Address::new(address.local(), domain.clone()).unwrap_or_else(|_| address.clone())
}

/// A user name as tables hold it: the local part without quotes.
fn unquoted(username: &str) -> Result<Address, mail_types::AddressError> {
    let (local, domain) = username
        .rsplit_once('@')
        .ok_or(mail_types::AddressError::Incomplete)?;
    Address::new(local, mail_types::Domain::new(domain)?)
}

/// The path below the base: relative, inside it, one that a file system can hold.
fn clean_path(maildir: &str) -> Result<String, &'static str> {
    if maildir.starts_with('/') {
        return Err("is absolute");
    }
    if maildir.chars().any(char::is_control) {
        return Err("holds a control character");
    }
    if maildir.len() > 1024 || maildir.split('/').any(|part| part.len() > 255) {
        return Err("is too long");
    }
    let parts: Vec<&str> = maildir
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err("leads out of virtual_mailbox_base");
    }
    if parts.is_empty() {
        return Err("is empty");
    }
    Ok(parts.join("/") + "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(clean_path("d.test/u/").as_deref(), Ok("d.test/u/"));
        assert_eq!(clean_path("D/D/user//").as_deref(), Ok("D/D/user/"));
        assert_eq!(clean_path("./d.test/u").as_deref(), Ok("d.test/u/"));
        for bad in [
            "",
            "/",
            "/etc/",
            "../x/",
            "d/../../x/",
            "a\0b/",
            ".",
            "a\nb/",
            &"x".repeat(300),
        ] {
            assert!(clean_path(bad).is_err(), "{bad:?}");
        }
    }
}
