//! Alias expansion: one address in, final addresses out, with Postfix's rules about extensions, identity
//! rows, `@other` targets and limits (compat.md 2.3).

use std::collections::HashMap;

use auth_api::directory::{DomainClass, Refusal, Target};
use mail_types::{Address, Domain, EnhancedStatus};

use super::lookup::rehomed;
use super::targets::{self, AliasTarget};
use super::transport::Transport;
use super::{Directory, DirectoryError, DomainInfo, Steps};

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
    /// It goes on to these; true: and it also ends here.
    Targets(Vec<Address>, Vec<String>, bool),
}

/// One expansion in progress.
struct Run<'a> {
    directory: &'a Directory,
    steps: &'a mut Steps,
    domains: HashMap<Domain, DomainInfo>,
    nodes: Vec<Node>,
    seen: HashMap<String, usize>,
    finals: Vec<Final>,
}

impl Directory {
    /// Expands `start` until nothing changes any more. The class is that of its domain.
    pub(super) async fn expand(
        &self,
        start: &Address,
        steps: &mut Steps,
    ) -> Result<(DomainClass, Expansion), DirectoryError> {
        let mut run = Run {
            directory: self,
            steps,
            domains: HashMap::new(),
            nodes: Vec::new(),
            seen: HashMap::new(),
            finals: Vec::new(),
        };
        let class = run.info(start.domain()).await?.class;
        Ok((class, run.go(start.clone()).await?))
    }
}

impl Run<'_> {
    async fn go(&mut self, start: Address) -> Result<Expansion, DirectoryError> {
        let mut pending = vec![(start, None)];
        while let Some((address, parent)) = pending.pop() {
            let node = match self.enter(address, parent) {
                Ok(Some(node)) => node,
                Ok(None) => continue,
                Err(reason) => return Ok(Expansion::Error(reason)),
            };
            let address = self.nodes[node].address.clone();
            let (targets, unusable, ends_here) = match self.next(&address).await? {
                Next::Final(target) => {
                    self.finish(address, target);
                    continue;
                }
                Next::Targets(targets, unusable, ends_here) => (targets, unusable, ends_here),
            };
            self.nodes[node].identity = ends_here;
            if ends_here {
                let target = self.end(&address).await?;
                self.finish(address.clone(), target);
            }
            for text in unusable {
                self.unusable(&address, &text);
            }
            let limit = self.directory.rules.expansion_limit;
            let results = self.finals.len() + pending.len() + targets.len();
            // The second condition bounds the work where long chains end at few results.
            if results > limit || self.seen.len() > 2 * limit {
                return Ok(Expansion::Error("too many targets".into()));
            }
            // Reversed, because the last one in is the first one out.
            pending.extend(targets.into_iter().rev().map(|target| (target, Some(node))));
        }
        Ok(Expansion::Finals(std::mem::take(&mut self.finals)))
    }

    /// Makes a node of an address; `None` where it was seen before, an error where that is a loop.
    fn enter(&mut self, address: Address, parent: Option<usize>) -> Result<Option<usize>, String> {
        let key = address.lookup_key();
        if let Some(&seen) = self.seen.get(&key) {
            let looped = self.ancestors(parent).any(|node| node == seen) && !self.nodes[seen].identity;
            return if looped {
                Err(format!("{address} leads back to itself"))
            } else {
                Ok(None)
            };
        }
        let depth = parent.map_or(0, |parent| self.nodes[parent].depth + 1);
        if depth > self.directory.rules.recursion_limit {
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

    fn ancestors(&self, from: Option<usize>) -> impl Iterator<Item = usize> {
        std::iter::successors(from, |node| self.nodes[*node].parent)
    }

    fn finish(&mut self, address: Address, target: Target) {
        self.finals.push(Final { address, target });
    }

    /// A target that is no address: nobody can be reached by it, and whoever sent hears so.
    fn unusable(&mut self, of: &Address, text: &str) {
        self.steps
            .say("alias", &of.lookup_key(), &format!("{text:?} is not an address"));
        // It has no final address of its own; the alias stands for it.
        if !self.finals.iter().any(|f| f.address == *of) {
            let refusal = Refusal {
                code: 550,
                status: EnhancedStatus::new(5, 1, 3),
                text: "Bad destination address in virtual alias table".into(),
            };
            self.finals.push(Final {
                address: of.clone(),
                target: Target::Dead { refusal },
            });
        }
    }

    async fn info(&mut self, domain: &Domain) -> Result<DomainInfo, DirectoryError> {
        if let Some(info) = self.domains.get(domain) {
            return Ok(info.clone());
        }
        let info = self.directory.classify(domain, self.steps).await?;
        self.domains.insert(domain.clone(), info.clone());
        Ok(info)
    }

    /// Asks the rows about one address, in order: alias and mailbox of the exact address and of the one
    /// without extension, the same in the mirrored domain, catch-all, postmaster.
    async fn next(&mut self, address: &Address) -> Result<Next, DirectoryError> {
        let info = self.info(address.domain()).await?;
        if info.class == DomainClass::Foreign || (info.class == DomainClass::Relay && info.backupmx) {
            return Ok(Next::Final(Target::Remote));
        }
        let mut homes = vec![address.clone()];
        homes.extend(info.mirrors.as_ref().map(|target| rehomed(address, target)));
        for home in &homes {
            if let Some(next) = self.alias_of_user(home, address).await? {
                return Ok(next);
            }
        }
        if let Some(home) = homes.get(1) {
            if info.backupmx || info.transport.relays() {
                return Ok(Next::Targets(vec![home.clone()], vec![], false));
            }
            if self.directory.mailbox(home, self.steps).await?.is_some() {
                return Ok(Next::Targets(vec![home.clone()], vec![], false));
            }
        } else if info.class == DomainClass::Mailbox
            && self.directory.mailbox(address, self.steps).await?.is_some()
        {
            return Ok(Next::Final(self.found(&info)?));
        }
        for home in &homes {
            if let Some(next) = self.catch_all(home, address).await? {
                return Ok(next);
            }
        }
        if address.local().eq_ignore_ascii_case("postmaster") && info.class != DomainClass::Relay {
            return self.postmaster(address);
        }
        Ok(Next::Final(self.end(address).await?))
    }

    /// The alias row of `home`, exact or without extension. `address` is the address under which it was
    /// reached.
    async fn alias_of_user(
        &mut self,
        home: &Address,
        address: &Address,
    ) -> Result<Option<Next>, DirectoryError> {
        for (index, key) in self.directory.keys(home).enumerate() {
            let Some(goto) = self.alias(&key).await? else {
                // A mailbox of exactly this name comes before the alias of the name without extension.
                let exact = index == 0 && home == address && self.directory.extension(home).is_some();
                if exact
                    && self
                        .directory
                        .backend
                        .mailbox(&key)
                        .await?
                        .row
                        .is_some_and(|row| row.active)
                {
                    return Ok(None);
                }
                continue;
            };
            let extension = match index {
                0 => None,
                _ => self
                    .directory
                    .extension(home)
                    .map(|(_, extension)| extension.to_owned()),
            };
            return Ok(Some(self.list(home, address, &goto, extension.as_deref())));
        }
        Ok(None)
    }

    async fn catch_all(&mut self, home: &Address, address: &Address) -> Result<Option<Next>, DirectoryError> {
        let key = format!("@{}", home.domain());
        Ok(self
            .alias(&key)
            .await?
            .map(|goto| self.list(home, address, &goto, None)))
    }

    /// The targets of an active alias.
    async fn alias(&mut self, key: &str) -> Result<Option<String>, DirectoryError> {
        let row = self.directory.backend.alias(key).await?.row;
        let answer = match &row {
            None => String::new(),
            Some(row) if row.active => format!("alias.goto = {}", row.goto),
            Some(_) => "inactive".to_owned(),
        };
        self.steps.say("alias", key, &answer);
        Ok(row.filter(|row| row.active).map(|row| row.goto))
    }

    /// The list of a row found for `home` (`address` itself, or the same user in the mirrored domain), with
    /// the extension that the row did not match.
    fn list(&self, home: &Address, address: &Address, goto: &str, extension: Option<&str>) -> Next {
        let rules = &self.directory.rules;
        let (mut addresses, mut unusable, mut ends_here) = (Vec::new(), Vec::new(), false);
        let own_key = address.lookup_key();
        for target in targets::parse(goto, &rules.own_domain) {
            let result = match target {
                AliasTarget::Address(result) => extended(result, rules.recipient_delimiter, extension),
                AliasTarget::SameUserAt(domain) => rehomed(home, &domain),
                AliasTarget::Unusable(text) => {
                    unusable.push(text);
                    continue;
                }
            };
            if result.lookup_key() == own_key {
                ends_here = true;
            } else {
                addresses.push(result);
            }
        }
        Next::Targets(addresses, unusable, ends_here)
    }

    /// A postmaster without a row: the configured address gets it (RFC 5321 4.5.1).
    fn postmaster(&mut self, address: &Address) -> Result<Next, DirectoryError> {
        let postmaster = &self.directory.rules.postmaster;
        if postmaster.lookup_key() == address.lookup_key() {
            return Err(DirectoryError::Misconfigured(format!(
                "postmaster_address is {postmaster}, which has neither a mailbox nor an alias"
            )));
        }
        self.steps.say(
            "postmaster_address",
            &address.lookup_key(),
            &postmaster.to_string(),
        );
        Ok(Next::Targets(vec![postmaster.clone()], vec![], false))
    }

    /// What an address is that no alias changes any more.
    async fn end(&mut self, address: &Address) -> Result<Target, DirectoryError> {
        let info = self.info(address.domain()).await?;
        match info.class {
            DomainClass::Foreign | DomainClass::Relay => Ok(Target::Remote),
            DomainClass::Alias | DomainClass::Mailbox => {
                if self.directory.mailbox(address, self.steps).await?.is_some() {
                    return self.found(&info);
                }
                Ok(Target::Dead {
                    refusal: info.unknown_user(),
                })
            }
        }
    }

    /// How a mailbox that exists is delivered to, by the transport of its domain.
    fn found(&self, info: &DomainInfo) -> Result<Target, DirectoryError> {
        match &info.transport {
            Transport::Class => Ok(Target::Mailbox),
            Transport::Error(status, text) => Ok(Target::Dead {
                refusal: Refusal {
                    code: 550,
                    status: *status,
                    text: text.clone(),
                },
            }),
            Transport::Unsupported(reason) => Err(DirectoryError::Misconfigured(reason.clone())),
            Transport::SmtpToDomain
            | Transport::Smtp(_)
            | Transport::Lmtp(_)
            | Transport::Retry(_)
            | Transport::Discard => Ok(Target::Remote),
        }
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
