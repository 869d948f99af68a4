//! LookupMailbox: where a mailbox lies, and whether its row may be believed (robustness.md A16).

use auth_api::directory::{DomainClass, Mailbox, MailboxAnswer};
use mail_types::Address;

use super::backend::{Found, LoginRow, MailboxRow};
use super::{Directory, DirectoryError, Steps};

impl Directory {
    /// The mailbox of a final address.
    pub async fn lookup_mailbox(&self, address: &Address) -> Result<MailboxAnswer, DirectoryError> {
        let mut steps = Steps::default();
        let info = self.classify(address.domain(), &mut steps).await?;
        let at = match &info.mirrors {
            Some(target) => rehomed(address, target),
            None => address.clone(),
        };
        let row = match info.class {
            DomainClass::Mailbox | DomainClass::Alias => self.mailbox(&at, &mut steps).await?,
            DomainClass::Relay | DomainClass::Foreign => None,
        };
        Ok(match row {
            Some(row) => self.usable(&row),
            None => MailboxAnswer::Unknown(info.unknown_user()),
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
        match clean_path(&row.maildir) {
            Ok(maildir) => MailboxAnswer::Found(Mailbox {
                address,
                maildir,
                uid: self.rules.owner.0,
                gid: self.rules.owner.1,
                // 0 is unlimited, negative is "not set".
                quota: u64::try_from(row.quota).unwrap_or(0),
            }),
            Err(reason) => {
                MailboxAnswer::Misconfigured(format!("mailbox.maildir of {} {reason}", row.username))
            }
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
