//! The tables of PostfixAdmin in pages.

use std::collections::VecDeque;

use super::Value;
use super::keyed::Question;
use super::postfixadmin::{ALIAS, ALIAS_DOMAIN, DOMAIN, MAILBOX, PostfixAdmin, alias, alias_domain, domain};
use crate::directory::backend::{Backend as _, BackendError};
use crate::directory::pages::{Kind, Listed, Page, PageRequest};

/// Mailboxes of one page that may be unreadable; more are trouble with the table.
const UNREADABLE: usize = 16;

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
        let mut rows = Vec::with_capacity(names.len());
        // Where a row is unreadable the answer for all of them is an error: halves, down to that row.
        let mut parts = VecDeque::from([names.as_slice()]);
        let mut unreadable = 0;
        while let Some(part) = parts.pop_front() {
            match (self.logins(part).await, part) {
                (Ok(found), _) => {
                    let listed = part.iter().zip(found).filter_map(|(name, found)| {
                        Some((name.clone(), Listed::Mailbox(Box::new(found.row?))))
                    });
                    rows.extend(listed);
                }
                (Err(error), [name]) => {
                    unreadable += 1;
                    if unreadable > UNREADABLE {
                        return Err(error);
                    }
                    rows.push((name.clone(), Listed::Unreadable));
                }
                (Err(_), _) => {
                    // Away, or odd rows?
                    self.database().select("SELECT 1", Vec::new()).await?;
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([first, second]);
                }
            }
        }
        Ok(Some(Page {
            rows,
            next: page.next,
        }))
    }
}
