//! CheckAccess: the first row of each access(5) table for a client and its envelope (compat.md 2.4).

use std::net::IpAddr;

use auth_api::access::{Answer, Client, Hit, Question, Table};
use mail_types::{Address, ReversePath};

use super::ask::Texts;
use super::backend::AccessTable;
use super::domains::parents;
use super::{Directory, DirectoryError, Steps};

impl From<AccessTable> for Table {
    fn from(table: AccessTable) -> Self {
        match table {
            AccessTable::Client => Self::Client,
            AccessTable::Helo => Self::Helo,
            AccessTable::Sender => Self::Sender,
            AccessTable::Recipient => Self::Recipient,
        }
    }
}

impl Directory {
    /// What the tables say.
    pub async fn check_access(
        &self,
        question: &Question,
        steps: &mut Steps,
    ) -> Result<Answer, DirectoryError> {
        let mut ask = self.ask(steps).await?;
        let tables: Vec<AccessTable> = AccessTable::ALL
            .into_iter()
            .filter(|table| ask.can.access.contains(table))
            .collect();
        let mut answer = Answer {
            tables: tables.iter().copied().map(Into::into).collect(),
            hits: Vec::new(),
        };
        for table in tables {
            let Some(keys) = self.access_keys(table, question) else {
                continue;
            };
            let Some(found) = ask.first(Texts::Access(table), &keys).await? else {
                continue;
            };
            if let Some((key, action)) = found.row {
                answer.hits.push(Hit {
                    table: table.into(),
                    key,
                    action,
                    source: found.source.into(),
                });
            }
        }
        Ok(answer)
    }

    /// The keys of a table; `None` where it was not asked about.
    fn access_keys(&self, table: AccessTable, question: &Question) -> Option<Vec<String>> {
        Some(match table {
            AccessTable::Client => client_keys(question.client.as_ref()?),
            AccessTable::Helo => {
                let name = question.helo.as_ref()?.to_lowercase();
                name_keys(name.trim_end_matches('.'))
            }
            AccessTable::Sender => match question.sender.as_ref()? {
                ReversePath::Null => vec!["<>".to_owned()],
                ReversePath::Address(address) => self.address_keys(address),
            },
            AccessTable::Recipient => self.address_keys(question.recipient.as_ref()?),
        })
    }

    /// `user+ext@domain`, `user@domain`, the domain and its parents, `user+ext@`, `user@`.
    fn address_keys(&self, address: &Address) -> Vec<String> {
        let exact: Vec<String> = self.keys(address).collect();
        let mut keys = exact.clone();
        keys.extend(name_keys(address.domain().as_str()));
        let local = |key: &String| Some(format!("{}@", key.rsplit_once('@')?.0));
        keys.extend(exact.iter().filter_map(local));
        keys
    }
}

/// A name and its parents.
fn name_keys(name: &str) -> Vec<String> {
    std::iter::once(name)
        .chain(parents(name))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The name and its parents where it has one, the address, and the address with octets (IPv6: groups) cut
/// from the right.
fn client_keys(client: &Client) -> Vec<String> {
    let mut keys = name_keys(client.name.to_lowercase().trim_end_matches('.'));
    match client.address.map(|ip| ip.to_canonical()) {
        None => {}
        Some(IpAddr::V4(ip)) => keys.extend(cut(&ip.to_string(), '.')),
        Some(IpAddr::V6(ip)) => keys.extend(cut(&ip.to_string(), ':')),
    }
    keys
}

/// The text, then the text up to each separator, from the right.
fn cut(text: &str, separator: char) -> Vec<String> {
    std::iter::successors(Some(text), |rest| {
        let (shorter, _) = rest.rsplit_once(separator)?;
        Some(shorter.trim_end_matches(separator)).filter(|shorter| !shorter.is_empty())
    })
    .map(str::to_owned)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_clients() {
        let keys = |name: &str, ip: &str| {
            client_keys(&Client {
                name: name.into(),
                address: ip.parse().ok(),
            })
        };
        assert_eq!(
            keys("MX.Example.com", "192.0.2.9"),
            [
                "mx.example.com",
                "example.com",
                "com",
                "192.0.2.9",
                "192.0.2",
                "192.0",
                "192"
            ]
        );
        assert_eq!(
            keys("", "2001:db8::1"),
            ["2001:db8::1", "2001:db8", "2001"],
            "no name, no key of one"
        );
        assert_eq!(keys("", "::ffff:192.0.2.9")[0], "192.0.2.9");
    }

    #[test]
    fn long_names_do_not_hide_their_end() {
        let long = format!("{}evil.test", "a.".repeat(100));
        let keys = name_keys(&long);
        assert!(keys.len() <= 25);
        assert_eq!(keys[0], long);
        assert!(keys.contains(&"evil.test".to_owned()) && keys.contains(&"test".to_owned()));
    }
}
