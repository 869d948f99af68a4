//! The tables of PostfixAdmin in pages.

use super::Value;
use super::keyed::Question;
use super::postfixadmin::{ALIAS, ALIAS_DOMAIN, DOMAIN, MAILBOX, PostfixAdmin, alias, alias_domain, domain};
use crate::directory::backend::{Backend as _, BackendError, Found, LoginRow};
use crate::directory::pages::{Kind, Listed, Page, PageRequest};

impl PostfixAdmin {
    /// See [`Backend::page`](crate::directory::backend::Backend::page).
    pub(super) async fn next_page(&self, request: PageRequest<'_>) -> Result<Option<Page>, BackendError> {
        match request.kind {
            Kind::Domain => {
                let read = |row: &[Value]| domain(row).map(Listed::Domain);
                self.plain(&DOMAIN, request, read).await
            }
            Kind::AliasDomain => {
                let read = |row: &[Value]| alias_domain(row).map(Listed::AliasDomain);
                self.plain(&ALIAS_DOMAIN, request, read).await
            }
            Kind::Alias => {
                let read = |row: &[Value]| alias(row).map(Listed::Alias);
                self.plain(&ALIAS, request, read).await
            }
            Kind::Mailbox => self.mailboxes(request).await,
            Kind::Transport | Kind::Relocated | Kind::SenderLogins | Kind::LocalAlias | Kind::Access(_) => {
                Ok(Some(Page::default()))
            }
        }
    }

    async fn plain(
        &self,
        question: &Question,
        request: PageRequest<'_>,
        read: impl Fn(&[Value]) -> Option<Listed>,
    ) -> Result<Option<Page>, BackendError> {
        let rows = self
            .keyed()
            .page(question, request.after, request.limit, request.changed_since);
        let Some(rows) = rows.await? else {
            return Ok(None);
        };
        // An empty page is the end, not a short one: rows without a key are left out.
        let next = rows.last().map(|(key, _)| key.clone());
        let listed =
            |(key, row): (String, Vec<Value>)| (key.to_lowercase(), read(&row).unwrap_or(Listed::Unreadable));
        Ok(Some(Page {
            rows: rows.into_iter().map(listed).collect(),
            next,
        }))
    }

    /// The names by one query, what their logins rest on by [`Backend::logins`](crate::directory::backend::Backend::logins).
    async fn mailboxes(&self, request: PageRequest<'_>) -> Result<Option<Page>, BackendError> {
        let Some(page) = self
            .plain(&MAILBOX, request, |_| Some(Listed::Unreadable))
            .await?
        else {
            return Ok(None);
        };
        let names: Vec<String> = page.rows.into_iter().map(|(name, _)| name).collect();
        let found = self.logins(&names).await?;
        let listed = |(name, found): (String, Result<Found<LoginRow>, BackendError>)| match found {
            Ok(found) => Some((name, Listed::Mailbox(Box::new(found.row?)))),
            Err(_) => Some((name, Listed::Unreadable)),
        };
        let rows = names.into_iter().zip(found).filter_map(listed).collect();
        Ok(Some(Page {
            rows,
            next: page.next,
        }))
    }
}
