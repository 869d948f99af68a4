//! CheckSenderLogin: a login may send as its mailbox, and as every alias that leads to it.

use auth_api::directory::{DomainClass, SenderLogin, Target};
use mail_types::Address;

use super::expand::Expansion;
use super::{Directory, DirectoryError, Steps};

impl Directory {
    /// Whether `login` may send as `sender`.
    pub async fn check_sender_login(
        &self,
        login: &Address,
        sender: &Address,
    ) -> Result<SenderLogin, DirectoryError> {
        let login = login.lookup_key();
        if self.keys(sender).any(|key| key == login) {
            return Ok(SenderLogin::Owned);
        }
        let mut steps = Steps::default();
        let owned = match self.expand(sender, &mut steps).await? {
            (DomainClass::Foreign, _) | (_, Expansion::Error(_)) => false,
            (_, Expansion::Finals(finals)) => finals
                .iter()
                .filter(|f| !matches!(f.target, Target::Dead { .. }))
                .any(|f| self.keys(&f.address).any(|key| key == login)),
        };
        Ok(if owned {
            SenderLogin::Owned
        } else {
            SenderLogin::NotOwned
        })
    }
}
