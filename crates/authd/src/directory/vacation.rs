//! Vacation: whose absence notice answers a recipient (compat.md 5.6).

use std::collections::VecDeque;

use auth_api::directory::Vacation;
use mail_types::Address;

use super::ask::Ask;
use super::lookup::rehomed;
use super::targets::{self, AliasTarget};
use super::{Directory, DirectoryError, Steps};

/// Most addresses that are looked at for one notice.
const MOST: usize = 20;

impl Directory {
    /// Whether a target of `home` only asks for an absence reply. Without the option it is one that spells
    /// `home` itself, which no other server understands.
    pub(super) fn is_vacation(&self, target: &Address, home: &Address) -> bool {
        match &self.rules.vacation_domain {
            Some(domain) => target.domain() == domain,
            None => {
                let spelled = |key: String| key.replacen('@', "#", 1);
                let local = target.local().to_lowercase();
                target.domain() != home.domain() && self.keys(home).any(|key| spelled(key) == local)
            }
        }
    }

    /// The absence notice that answers a recipient at a time (seconds since 1970): one that is not in force
    /// then hides no other. Takes the form `user#domain@vacation_domain`, too.
    pub async fn vacation(
        &self,
        address: &Address,
        now: i64,
        steps: &mut Steps,
    ) -> Result<Option<Vacation>, DirectoryError> {
        steps.at(&address.lookup_key(), 0);
        let mut ask = self.ask(steps).await?;
        if !ask.can.vacation {
            return Ok(None);
        }
        let start = self.absent_user(address);
        let mut seen = vec![start.lookup_key()];
        let mut pending = VecDeque::from([start]);
        let mut looked_at = 0;
        while let Some(address) = pending.pop_front() {
            looked_at += 1;
            if looked_at > MOST {
                break;
            }
            if let Some(notice) = ask.notice(&address, now).await? {
                return Ok(Some(notice));
            }
            for next in ask.leads_to(&address).await? {
                if !seen.contains(&next.lookup_key()) {
                    seen.push(next.lookup_key());
                    pending.push_back(next);
                }
            }
        }
        Ok(None)
    }

    /// `user@domain` of `user#domain@vacation_domain`; else the address itself.
    fn absent_user(&self, address: &Address) -> Address {
        let coded = match &self.rules.vacation_domain {
            Some(domain) => address.domain() == domain,
            None => false,
        };
        let decoded = || {
            let (user, domain) = address.local().split_once('#')?;
            Address::new(user, mail_types::Domain::new(domain).ok()?).ok()
        };
        coded.then(decoded).flatten().unwrap_or_else(|| address.clone())
    }
}

impl Ask<'_> {
    /// The notice of an address that is in force, exact or without extension.
    async fn notice(&mut self, address: &Address, now: i64) -> Result<Option<Vacation>, DirectoryError> {
        for key in self.directory.keys(address) {
            let found = self.directory.backend.vacation(&key).await?;
            let answer = match &found.row {
                None => "",
                Some(row) if !row.active => "inactive",
                Some(row) if row.active_from.is_some_and(|from| now < from) => "not begun",
                Some(row) if row.active_until.is_some_and(|until| until < now) => "over",
                Some(_) => "vacation.active",
            };
            self.steps.row("vacation", &key, answer, found.source);
            let Some(row) = found.row.filter(|_| answer == "vacation.active") else {
                continue;
            };
            let Ok(owner) = Address::parse(&key) else { continue };
            return Ok(Some(Vacation {
                address: owner,
                subject: row.subject,
                body: row.body,
                active_from: row.active_from,
                active_until: row.active_until,
                interval_seconds: row.interval_time.max(0),
            }));
        }
        Ok(None)
    }

    /// Where mail of an address goes: by its alias, by the domain that its domain mirrors, by the catch-all.
    async fn leads_to(&mut self, address: &Address) -> Result<Vec<Address>, DirectoryError> {
        for key in self.directory.keys(address) {
            if let Some(goto) = self.alias(&key, false).await? {
                return Ok(self.addresses(&goto, address));
            }
        }
        let info = self.domain(address.domain()).await?;
        if let Some(target) = &info.mirrors {
            return Ok(vec![rehomed(address, target)]);
        }
        match self.alias(&format!("@{}", address.domain()), false).await? {
            Some(goto) => Ok(self.addresses(&goto, address)),
            None => Ok(Vec::new()),
        }
    }

    fn addresses(&self, goto: &str, of: &Address) -> Vec<Address> {
        targets::parse(goto, &self.directory.rules.own_domain)
            .into_iter()
            .filter_map(|target| match target {
                AliasTarget::Address(address) if self.directory.is_vacation(&address, of) => None,
                AliasTarget::Address(address) => Some(address),
                AliasTarget::SameUserAt(domain) => Some(rehomed(of, &domain)),
                AliasTarget::Unusable(_) => None,
            })
            .take(MOST)
            .collect()
    }
}
