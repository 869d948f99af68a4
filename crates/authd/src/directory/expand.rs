//! Alias expansion: one address in, final addresses out, with Postfix's rules about extensions, identity
//! rows, `@other` targets and limits (compat.md 2.3).

use std::collections::HashMap;

use auth_api::directory::{DomainClass, Refusal, Target};
use mail_types::{Address, EnhancedStatus};

use super::ask::{Ask, TOGETHER};
use super::domains::{DomainInfo, Kind};
use super::lookup::rehomed;
use super::targets::{self, AliasTarget};
use super::transport::Transport;
use super::{Directory, DirectoryError, Steps};

/// One address that the expansion ended at.
#[derive(Debug)]
pub(super) struct Final {
    pub address: Address,
    pub target: Target,
}

/// What came of an expansion.
#[derive(Debug)]
pub(super) enum Expansion {
    /// The final addresses in the order of the lists, each once.
    Finals(Vec<Final>),
    /// A loop, or a limit.
    Error(String),
}

/// An expansion that came to its end.
pub(super) struct Expanded {
    /// The class of the domain as typed.
    pub class: DomainClass,
    pub expansion: Expansion,
    /// A row was used that counts only where others are missing: a catch-all, the configured postmaster.
    pub by_absence: bool,
}

/// An address on the way, with the one it came from.
struct Node {
    address: Address,
    parent: Option<usize>,
    depth: usize,
    /// Its own list names it: if another address leads back here, that is no loop.
    identity: bool,
}

/// What the rows say of one address.
enum Next {
    /// It ends here.
    Final(Target),
    /// It goes on.
    List(List),
}

/// The targets of an alias.
#[derive(Default)]
struct List {
    addresses: Vec<Address>,
    /// What is no address, as it is written.
    unusable: Vec<String>,
    /// The address itself is among them.
    ends_here: bool,
}

impl List {
    fn one(address: Address) -> Self {
        Self {
            addresses: vec![address],
            ..Self::default()
        }
    }
}

/// One expansion in progress.
struct Run<'a> {
    ask: Ask<'a>,
    nodes: Vec<Node>,
    seen: HashMap<String, usize>,
    finals: Vec<Final>,
    by_absence: bool,
}

impl Directory {
    /// Expands `start` until nothing changes any more.
    pub(super) async fn expand(
        &self,
        start: &Address,
        steps: &mut Steps,
    ) -> Result<Expanded, DirectoryError> {
        steps.at(&start.lookup_key(), 0);
        let mut run = Run {
            ask: self.ask(steps).await?,
            nodes: Vec::new(),
            seen: HashMap::new(),
            finals: Vec::new(),
            by_absence: false,
        };
        let class = run.ask.domain(start.domain()).await?.class();
        Ok(Expanded {
            class,
            expansion: run.go(start.clone()).await?,
            by_absence: run.by_absence,
        })
    }
}

impl Run<'_> {
    async fn go(&mut self, start: Address) -> Result<Expansion, DirectoryError> {
        let mut pending = vec![(start, None)];
        // How many of the last ones in `pending` were asked for already.
        let mut expected: usize = 0;
        while let Some((address, parent)) = pending.pop() {
            expected = expected.saturating_sub(1);
            let node = match self.enter(address, parent) {
                Ok(Some(node)) => node,
                Ok(None) => continue,
                Err(reason) => return Ok(Expansion::Error(reason)),
            };
            let address = self.nodes[node].address.clone();
            if expected == 0 {
                let next = pending.iter().rev().map(|(address, _)| address);
                let next = std::iter::once(&address).chain(next).take(TOGETHER);
                let next: Vec<Address> = next.cloned().collect();
                if next.len() > 1 {
                    expected = next.len() - 1;
                    self.ask.expect(&next).await;
                }
            }
            let list = match self.next(&address).await? {
                Next::Final(target) => {
                    self.finish(address, target);
                    continue;
                }
                Next::List(list) => list,
            };
            self.nodes[node].identity = list.ends_here;
            if list.ends_here {
                let target = self.end(&address).await?;
                self.finish(address.clone(), target);
            }
            for text in &list.unusable {
                self.unusable(&address, text);
            }
            let limit = self.ask.directory.rules.expansion_limit;
            let results = self.finals.len() + pending.len() + list.addresses.len();
            // The second condition bounds the work where long chains end at few results. A target that is
            // mirrored and forwarded is three nodes on the way to one result.
            if results > limit || self.seen.len() > 8 * limit {
                return Ok(self.error(&address.to_string(), "too many targets".into()));
            }
            // Reversed, because the last one in is the first one out.
            pending.extend(
                list.addresses
                    .into_iter()
                    .rev()
                    .map(|target| (target, Some(node))),
            );
            expected = 0;
        }
        Ok(Expansion::Finals(std::mem::take(&mut self.finals)))
    }

    /// Makes a node of an address; `None` where it was seen before, an error where that is a loop.
    fn enter(&mut self, address: Address, parent: Option<usize>) -> Result<Option<usize>, String> {
        let key = address.lookup_key();
        let depth = parent.map_or(0, |parent| self.nodes[parent].depth + 1);
        self.ask.steps.at(&key, depth);
        if let Some(&seen) = self.seen.get(&key) {
            let looped = self.ancestors(parent).any(|node| node == seen) && !self.nodes[seen].identity;
            if looped {
                self.ask.steps.rule("loop", &key, "leads back to itself");
                return Err(format!("{address} leads back to itself"));
            }
            self.ask.steps.rule("seen", &key, "expanded above");
            return Ok(None);
        }
        if depth > self.ask.directory.rules.recursion_limit {
            self.ask
                .steps
                .rule("virtual_alias_recursion_limit", &key, "nested too deeply");
            return Err("aliases are nested too deeply".into());
        }
        self.nodes.push(Node {
            address,
            parent,
            depth,
            identity: false,
        });
        let node = self.nodes.len() - 1;
        self.seen.insert(key, node);
        Ok(Some(node))
    }

    fn error(&mut self, key: &str, reason: String) -> Expansion {
        self.ask.steps.rule("virtual_alias_expansion_limit", key, &reason);
        Expansion::Error(reason)
    }

    fn ancestors(&self, from: Option<usize>) -> impl Iterator<Item = usize> {
        std::iter::successors(from, |node| self.nodes[*node].parent)
    }

    fn finish(&mut self, address: Address, target: Target) {
        let answer = match &target {
            Target::Mailbox => "the mailbox".to_owned(),
            Target::Remote => "another host".to_owned(),
            Target::Dead { refusal } => format!("{} {} {}", refusal.code, refusal.status, refusal.text),
        };
        self.ask.steps.rule("ends", &address.lookup_key(), &answer);
        self.finals.push(Final { address, target });
    }

    /// A target that is no address: nobody can be reached by it, and whoever sent hears so.
    fn unusable(&mut self, of: &Address, text: &str) {
        self.ask
            .steps
            .rule("target", &of.lookup_key(), &format!("{text:?} is not an address"));
        // It has no final address of its own; the alias stands for it.
        if !self.finals.iter().any(|f| f.address == *of) {
            let refusal = Refusal {
                code: 550,
                status: EnhancedStatus::new(5, 1, 3),
                text: "Bad destination address in virtual alias table".into(),
            };
            self.finish(of.clone(), Target::Dead { refusal });
        }
    }

    /// Asks the rows about one address, in order: alias and mailbox of the exact address and of the one
    /// without extension, each here and in the mirrored domain, names without a domain, catch-all,
    /// postmaster.
    async fn next(&mut self, address: &Address) -> Result<Next, DirectoryError> {
        let info = self.ask.domain(address.domain()).await?;
        match info.kind {
            Kind::Inactive | Kind::Vacation => return Ok(Next::Final(self.end(address).await?)),
            Kind::Relay if info.backupmx => return Ok(Next::Final(self.end(address).await?)),
            _ => {}
        }
        let mut homes = vec![address.clone()];
        homes.extend(info.mirrors.as_ref().map(|target| rehomed(address, target)));
        if let Some(next) = self.user(&homes, address, &info).await? {
            return Ok(next);
        }
        if let Some(home) = homes.get(1)
            && (info.backupmx || info.transport.relays())
        {
            return Ok(Next::List(List::one(home.clone())));
        }
        if let Some(list) = self.name(address, &info).await? {
            return Ok(Next::List(list));
        }
        for home in &homes {
            let key = format!("@{}", home.domain());
            if let Some(goto) = self.ask.alias(&key, false).await? {
                self.by_absence = true;
                return Ok(Next::List(self.list(home, address, &goto, None)));
            }
        }
        let ours = matches!(
            info.kind,
            Kind::Mailbox | Kind::AliasOnly | Kind::Mirror | Kind::Local
        );
        if ours && address.local().eq_ignore_ascii_case("postmaster") {
            return self.postmaster(address);
        }
        Ok(Next::Final(self.end(address).await?))
    }

    /// The rows of one user, exact and then without extension: for each key those of `address`, under which
    /// he was reached, and of the same user in the mirrored domain, `homes`.
    async fn user(
        &mut self,
        homes: &[Address],
        address: &Address,
        info: &DomainInfo,
    ) -> Result<Option<Next>, DirectoryError> {
        let has_mailboxes = match info.kind {
            Kind::Mailbox | Kind::Local => true,
            Kind::Mirror => !info.backupmx && !info.transport.relays(),
            _ => false,
        };
        let directory = self.ask.directory;
        for (index, _) in directory.keys(address).enumerate() {
            let keys = |home: &Address| directory.keys(home).nth(index);
            let keys: Vec<(&Address, String)> = homes
                .iter()
                .filter_map(|home| Some((home, keys(home)?)))
                .collect();
            for (at, (home, key)) in keys.iter().enumerate() {
                // The last alias is nearly always there, and its mailbox is what is asked for next.
                let with_mailbox = has_mailboxes && at + 1 == keys.len();
                if let Some(goto) = self.ask.alias(key, with_mailbox).await? {
                    let extension = match index {
                        0 => None,
                        _ => directory.extension(home).map(|(_, e)| e.to_owned()),
                    };
                    let list = self.list(home, address, &goto, extension.as_deref());
                    return Ok(Some(Next::List(list)));
                }
            }
            if !has_mailboxes {
                continue;
            }
            // A mailbox of exactly this name comes before the alias of the name without extension, and a
            // mailbox without an alias row before the catch-all.
            for (home, key) in &keys {
                if self.ask.mailbox_of_key(key).await?.is_none() {
                    continue;
                }
                return Ok(Some(if *home == address {
                    Next::Final(self.live(address, info).await?)
                } else {
                    Next::List(List::one((*home).clone()))
                }));
            }
        }
        Ok(None)
    }

    /// What stands under the bare name of an address of the own or a local domain: in the table of aliases,
    /// then in that of alias_maps.
    async fn name(&mut self, address: &Address, info: &DomainInfo) -> Result<Option<List>, DirectoryError> {
        let names = match info.kind {
            Kind::Local => self.ask.directory.bare_names(address),
            _ => self.ask.directory.names(address),
        };
        for (index, name) in names.iter().enumerate() {
            if let Some(goto) = self.ask.alias(name, false).await? {
                let extension = match index {
                    0 => None,
                    _ => self.ask.directory.extension(address).map(|(_, e)| e.to_owned()),
                };
                return Ok(Some(self.list(address, address, &goto, extension.as_deref())));
            }
        }
        if self.ask.can.local_alias && matches!(info.kind, Kind::Local | Kind::Mailbox) {
            for name in &names {
                if let Some(goto) = self.ask.local_alias(name).await? {
                    // Here an extension is not passed on (propagate_unmatched_extensions).
                    return Ok(Some(self.list(address, address, &goto, None)));
                }
            }
        }
        Ok(None)
    }

    /// The list of a row found for `home` (`address` itself, or the same user in the mirrored domain), with
    /// the extension that the row did not match.
    fn list(&mut self, home: &Address, address: &Address, goto: &str, extension: Option<&str>) -> List {
        let directory = self.ask.directory;
        let rules = &directory.rules;
        let mut list = List::default();
        let mut absence = false;
        let own_key = address.lookup_key();
        for target in targets::parse(goto, &rules.own_domain) {
            let result = match target {
                AliasTarget::Address(result) if directory.is_vacation(&result, home) => {
                    absence = true;
                    let answer = "an absence reply: no delivery, deliver writes it";
                    self.ask.steps.rule("vacation", &result.lookup_key(), answer);
                    continue;
                }
                AliasTarget::Address(result) => extended(result, rules.recipient_delimiter, extension),
                AliasTarget::SameUserAt(domain) => rehomed(home, &domain),
                AliasTarget::Unusable(text) => {
                    list.unusable.push(text);
                    continue;
                }
            };
            if result.lookup_key() == own_key {
                list.ends_here = true;
            } else {
                list.addresses.push(result);
            }
        }
        // Somebody who only answers: a mailbox of his is where the mail goes, and without one it is refused
        // rather than accepted and read by nobody.
        if absence && list.addresses.is_empty() && list.unusable.is_empty() {
            if home == address {
                list.ends_here = true;
            } else {
                list.addresses.push(home.clone());
            }
        }
        list
    }

    /// A postmaster without a row: the configured address gets it (RFC 5321 4.5.1).
    fn postmaster(&mut self, address: &Address) -> Result<Next, DirectoryError> {
        let postmaster = &self.ask.directory.rules.postmaster;
        if postmaster.lookup_key() == address.lookup_key() {
            return Err(if self.ask.steps.from_replica() {
                DirectoryError::Unsure(postmaster.to_string())
            } else {
                DirectoryError::Misconfigured(format!(
                    "postmaster_address is {postmaster}, which has neither a mailbox nor an alias"
                ))
            });
        }
        self.by_absence = true;
        self.ask.steps.rule(
            "postmaster_address",
            &address.lookup_key(),
            &postmaster.to_string(),
        );
        Ok(Next::List(List::one(postmaster.clone())))
    }

    /// What an address is that no alias changes any more.
    async fn end(&mut self, address: &Address) -> Result<Target, DirectoryError> {
        let info = self.ask.domain(address.domain()).await?;
        match info.kind {
            Kind::Mailbox | Kind::Local | Kind::Mirror => {
                if self.ask.mailbox_here(address, &info).await?.is_some() {
                    return self.live(address, &info).await;
                }
            }
            Kind::AliasOnly | Kind::Vacation => {}
            Kind::Foreign | Kind::Inactive | Kind::Relay => {
                return Ok(match self.moved(address).await? {
                    Some(dead) => dead,
                    None => Target::Remote,
                });
            }
        }
        if let Some(dead) = self.moved(address).await? {
            return Ok(dead);
        }
        Ok(Target::Dead {
            refusal: info.unknown_user(),
        })
    }

    /// How a mailbox that exists is delivered to, by its transport.
    async fn live(&mut self, address: &Address, info: &DomainInfo) -> Result<Target, DirectoryError> {
        if let Some(dead) = self.moved(address).await? {
            return Ok(dead);
        }
        match self.ask.transport(address, info).await? {
            Transport::Class | Transport::ClassVia(_) => Ok(Target::Mailbox),
            Transport::Local if info.kind == Kind::Local => Ok(Target::Mailbox),
            Transport::Local => Err(DirectoryError::Misconfigured(Transport::NO_LOCAL.to_owned())),
            Transport::Error(status, text) => Ok(Target::Dead {
                refusal: Refusal {
                    code: 550,
                    status,
                    text,
                },
            }),
            Transport::Unsupported(reason) => Err(DirectoryError::Misconfigured(reason)),
            Transport::SmtpToDomain
            | Transport::Smtp(_)
            | Transport::Lmtp(_)
            | Transport::Retry(_)
            | Transport::Vacation
            | Transport::Discard => Ok(Target::Remote),
        }
    }

    /// The refusal of an address whose user moved away (relocated(5)), in every class of domain.
    async fn moved(&mut self, address: &Address) -> Result<Option<Target>, DirectoryError> {
        let to = self.ask.relocated(address).await?;
        Ok(to.map(|to| Target::Dead {
            refusal: Refusal {
                code: 550,
                status: EnhancedStatus::new(5, 1, 6),
                text: format!("User has moved to {}", to.trim()),
            },
        }))
    }
}

/// The address with `extension` added, where there is one and it fits.
fn extended(address: Address, delimiter: Option<char>, extension: Option<&str>) -> Address {
    let (Some(delimiter), Some(extension)) = (delimiter, extension) else {
        return address;
    };
    let local = format!("{}{delimiter}{extension}", address.local());
    address.with_local(&local).unwrap_or(address)
}
