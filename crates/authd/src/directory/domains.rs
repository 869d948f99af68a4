//! What a domain is to us, and where its mail goes (compat.md 1.4, 1.5 and 2.3).

use auth_api::directory::{DomainClass, Refusal};
use futures_util::future::{join, join_all};
use mail_types::{Address, Domain, EnhancedStatus};

use super::ask::{Ask, Texts};
use super::backend::{AliasDomainRow, BackendError, DomainRow, Found};
use super::transport::Transport;
use super::{Directory, DirectoryError};

/// How many domains above another are asked for at the same time.
const PARENTS_TOGETHER: usize = 8;

/// What a domain is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Mailboxes here.
    Mailbox,
    /// Aliases only (virtual_alias_domains).
    AliasOnly,
    /// It mirrors another domain.
    Mirror,
    /// Our own domain without a row, or one with the transport `local:`: names of alias_maps, and mailboxes.
    Local,
    /// We relay for it.
    Relay,
    /// Its addresses stand for absence replies.
    Vacation,
    /// Its row is switched off: does not exist for mail.
    Inactive,
    /// Not ours.
    Foreign,
}

/// A domain.
#[derive(Debug, Clone)]
pub(super) struct DomainInfo {
    pub kind: Kind,
    /// What its row says.
    pub transport: Transport,
    /// For [`Kind::Mirror`]: the domain it mirrors.
    pub mirrors: Option<Domain>,
    /// Recipients are not checked at all.
    pub backupmx: bool,
}

impl DomainInfo {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            transport: Transport::Class,
            mirrors: None,
            backupmx: false,
        }
    }

    /// The class as the other daemons know it.
    pub fn class(&self) -> DomainClass {
        match self.kind {
            Kind::Mailbox | Kind::Local => DomainClass::Mailbox,
            Kind::AliasOnly | Kind::Mirror | Kind::Vacation => DomainClass::Alias,
            Kind::Relay => DomainClass::Relay,
            Kind::Inactive | Kind::Foreign => DomainClass::Foreign,
        }
    }

    /// What an address of this domain hears that has no row.
    pub fn unknown_user(&self) -> Refusal {
        let table = match self.kind {
            Kind::AliasOnly | Kind::Mirror | Kind::Vacation => "virtual alias",
            Kind::Local => "local recipient",
            _ => "virtual mailbox",
        };
        Refusal {
            code: 550,
            status: EnhancedStatus::new(5, 1, 1),
            text: format!("User unknown in {table} table"),
        }
    }
}

impl Ask<'_> {
    /// What the tables say of a domain.
    pub async fn domain(&mut self, domain: &Domain) -> Result<DomainInfo, DirectoryError> {
        if let Some(info) = self.domains.get(domain) {
            return Ok(info.clone());
        }
        let info = self.classify(domain).await?;
        self.domains.insert(domain.clone(), info.clone());
        Ok(info)
    }

    async fn classify(&mut self, domain: &Domain) -> Result<DomainInfo, DirectoryError> {
        let name = domain.as_str();
        // `ALL` is PostfixAdmin's mark for super administrators, never a mail domain.
        if name == "all" {
            self.steps
                .rule("domain", name, "the mark of super administrators, no domain");
            return Ok(DomainInfo::new(Kind::Foreign));
        }
        if self.directory.rules.vacation_domain.as_ref() == Some(domain) {
            self.steps.rule("vacation_domain", name, "absence replies");
            return Ok(DomainInfo::new(Kind::Vacation));
        }
        let (row, mirror) = self.rows_of_domain(name).await?;
        let Some(row) = row else {
            if let Some(info) = self.mirrored(domain, mirror).await? {
                return Ok(info);
            }
            if self.can.local_alias && self.directory.is_own(domain) {
                return Ok(DomainInfo::new(Kind::Local));
            }
            let relay = self.relay_above(name).await?;
            return Ok(relay.unwrap_or_else(|| DomainInfo::new(Kind::Foreign)));
        };
        if !row.active {
            return Ok(DomainInfo::new(Kind::Inactive));
        }
        let transport = Transport::parse(&row.transport);
        if !row.backupmx
            && let Some(info) = self.mirrored(domain, mirror).await?
        {
            return Ok(info);
        }
        let kind = if row.backupmx || transport.relays() {
            Kind::Relay
        } else if transport == Transport::Vacation {
            Kind::Vacation
        } else if row.alias_only {
            Kind::AliasOnly
        } else if transport == Transport::Local && self.can.local_alias {
            Kind::Local
        } else {
            Kind::Mailbox
        };
        Ok(DomainInfo {
            transport,
            backupmx: row.backupmx,
            ..DomainInfo::new(kind)
        })
    }

    /// The nearest relay domain that a domain without a row lies in (compat.md 2.3: parents match).
    async fn relay_above(&mut self, name: &str) -> Result<Option<DomainInfo>, DirectoryError> {
        if !self.directory.rules.relay_subdomains {
            return Ok(None);
        }
        let backend = &*self.directory.backend;
        // `ALL` is no mail domain.
        let above: Vec<&str> = parents(name).filter(|parent| *parent != "all").collect();
        for some in above.chunks(PARENTS_TOGETHER) {
            let answers = join_all(some.iter().map(|parent| backend.domain(parent))).await;
            for (parent, found) in some.iter().zip(answers) {
                let found = found?;
                let Some(row) = found.row.as_ref().filter(|row| row.active) else {
                    continue;
                };
                let transport = Transport::parse(&row.transport);
                let backupmx = row.backupmx;
                if backupmx || transport.relays() {
                    self.say_domain(parent, &found);
                    return Ok(Some(DomainInfo {
                        transport,
                        backupmx,
                        ..DomainInfo::new(Kind::Relay)
                    }));
                }
            }
        }
        Ok(None)
    }

    /// The row of a domain, and the active row that makes it mirror another.
    async fn rows_of_domain(
        &mut self,
        name: &str,
    ) -> Result<(Option<DomainRow>, Option<AliasDomainRow>), DirectoryError> {
        let backend = &*self.directory.backend;
        let (row, mirror) = if self.can.alias_domain {
            let (row, mirror) = join(backend.domain(name), backend.alias_domain(name)).await;
            (row?, Some(mirror?))
        } else {
            (backend.domain(name).await?, None)
        };
        self.say_domain(name, &row);
        let Some(mirror) = mirror else {
            return Ok((row.row, None));
        };
        let answer = match &mirror.row {
            None => String::new(),
            Some(row) if row.active => format!("target_domain = {}", row.target),
            Some(_) => "inactive".to_owned(),
        };
        self.steps.row("alias_domain", name, &answer, mirror.source);
        Ok((row.row, mirror.row.filter(|row| row.active)))
    }

    fn say_domain(&mut self, name: &str, found: &Found<DomainRow>) {
        let answer = match &found.row {
            None => String::new(),
            Some(row) if !row.active => "inactive".to_owned(),
            Some(row) => {
                let kind = match row {
                    DomainRow { backupmx: true, .. } => "backup MX",
                    DomainRow { alias_only: true, .. } => "aliases only",
                    _ => "active",
                };
                format!("{kind}, transport {:?}", row.transport)
            }
        };
        self.steps.row("domain", name, &answer, found.source);
    }

    /// The domain that `name` mirrors, where both are active.
    async fn mirrored(
        &mut self,
        domain: &Domain,
        mirror: Option<AliasDomainRow>,
    ) -> Result<Option<DomainInfo>, DirectoryError> {
        let Some(mirror) = mirror else { return Ok(None) };
        let Ok(target) = Domain::new(&mirror.target) else {
            return Err(
                BackendError::Odd(format!("alias_domain {domain}: the target is not a domain")).into(),
            );
        };
        // One step only: a target that is itself a mirror is looked up by its own rows.
        let found = self.directory.backend.domain(target.as_str()).await?;
        self.say_domain(target.as_str(), &found);
        let Some(row) = found.row.filter(|row| row.active && target != *domain) else {
            self.steps
                .rule("alias_domain", domain.as_str(), "the target is not active");
            return Ok(None);
        };
        Ok(Some(DomainInfo {
            transport: Transport::parse(&row.transport),
            mirrors: Some(target),
            backupmx: row.backupmx,
            ..DomainInfo::new(Kind::Mirror)
        }))
    }

    /// The transport of an address: the table of transports where there is one (transport_maps), then the
    /// row of its domain.
    pub async fn transport(
        &mut self,
        address: &Address,
        info: &DomainInfo,
    ) -> Result<Transport, DirectoryError> {
        let aliases = matches!(info.kind, Kind::AliasOnly | Kind::Mirror);
        if self.can.transport && !aliases {
            let (exact, wide) = self.directory.transport_keys(address);
            let mut found = self.first(Texts::Transport, &exact).await?;
            if found.is_none() {
                found = self.first(Texts::Transport, &wide).await?;
            }
            if let Some((_, text)) = found.and_then(|found| found.row) {
                // `:` says that the class decides.
                let transport = Transport::parse(&text);
                if transport != Transport::Class {
                    return Ok(transport);
                }
            }
        }
        Ok(info.transport.clone())
    }
}

impl Directory {
    /// The keys of transport_maps: the address, without extension, its domain; then the parents of the domain
    /// as `.parent`, and `*`.
    fn transport_keys(&self, address: &Address) -> (Vec<String>, Vec<String>) {
        let mut exact: Vec<String> = self.keys(address).collect();
        let domain = address.domain().as_str();
        exact.push(domain.to_owned());
        let mut wide: Vec<String> = parents(domain).map(|parent| format!(".{parent}")).collect();
        wide.push("*".to_owned());
        (exact, wide)
    }
}

/// Most parents of a name with many labels. The last ones count: whoever chooses his name chooses its
/// beginning.
const MOST_PARENTS: usize = 24;

/// `b.c` and `c` of `a.b.c`.
pub(crate) fn parents(domain: &str) -> impl Iterator<Item = &str> {
    fn above(name: &str) -> Option<&str> {
        name.split_once('.').map(|(_, rest)| rest)
    }
    let all = std::iter::successors(above(domain), |name| above(name));
    let all = all.filter(|parent| !parent.is_empty());
    let skip = all.clone().count().saturating_sub(MOST_PARENTS);
    all.skip(skip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_parents_count() {
        assert_eq!(parents("a.b.c").collect::<Vec<_>>(), ["b.c", "c"]);
        assert_eq!(parents("a..").count(), 1);
        let long = format!("{}evil.test", "a.".repeat(100));
        let parents: Vec<&str> = parents(&long).collect();
        assert_eq!(parents.len(), MOST_PARENTS);
        assert_eq!(parents[MOST_PARENTS - 2..], ["evil.test", "test"]);
    }
}
