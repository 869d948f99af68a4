//! CheckSenderLogin: a login may send as its mailbox, and as every alias that leads to it; where the site has
//! a table for this (smtpd_sender_login_maps), as what the table says.

use auth_api::directory::{DomainClass, SenderLogin, Target};
use mail_types::Address;

use super::ask::Texts;
use super::expand::{Expanded, Expansion};
use super::{Directory, DirectoryError, Steps};

impl Directory {
    /// Whether `login` may send as `sender`.
    pub async fn check_sender_login(
        &self,
        login: &Address,
        sender: &Address,
        steps: &mut Steps,
    ) -> Result<SenderLogin, DirectoryError> {
        steps.at(&sender.lookup_key(), 0);
        let login = login.lookup_key();
        let owned = if self.backend.questions().await?.sender_logins {
            self.in_table(&login, sender, steps).await?
        } else {
            self.by_rows(&login, sender, steps).await?
        };
        if owned {
            Ok(SenderLogin::Owned)
        } else if steps.from_replica() {
            Err(DirectoryError::Unsure(sender.to_string()))
        } else {
            Ok(SenderLogin::NotOwned)
        }
    }

    /// Whether the first row of the table names the login. Keys: the address, without extension, its bare
    /// name in the own domain, `@domain`.
    async fn in_table(
        &self,
        login: &str,
        sender: &Address,
        steps: &mut Steps,
    ) -> Result<bool, DirectoryError> {
        let mut keys: Vec<String> = self.keys(sender).collect();
        keys.extend(self.names(sender));
        keys.push(format!("@{}", sender.domain()));
        let mut ask = self.ask(steps).await?;
        let found = ask.first(Texts::SenderLogins, &keys).await?;
        let Some((_, logins)) = found.and_then(|found| found.row) else {
            return Ok(false);
        };
        Ok(logins
            .split([',', ' ', '\t', '\n', '\r'])
            .any(|name| name.to_lowercase() == login))
    }

    async fn by_rows(
        &self,
        login: &str,
        sender: &Address,
        steps: &mut Steps,
    ) -> Result<bool, DirectoryError> {
        if self.keys(sender).any(|key| key == login) {
            steps.rule("sender", &sender.lookup_key(), "the login's own address");
            return Ok(true);
        }
        let Expanded { class, expansion, .. } = self.expand(sender, steps).await?;
        Ok(match (class, expansion) {
            (DomainClass::Foreign, _) | (_, Expansion::Error(_)) => false,
            (_, Expansion::Finals(finals)) => finals
                .iter()
                .filter(|f| !matches!(f.target, Target::Dead { .. }))
                .any(|f| self.keys(&f.address).any(|key| key == login)),
        })
    }
}
