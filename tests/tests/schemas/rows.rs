//! The same directory as rows of each family of tables, and what every schema says of it.

use anyhow::Result;
use tests::backend::Engine;

use super::bench::Bench;

/// Tables that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Those of PostfixAdmin; passwords in clear, marked or not.
    PostfixAdmin { marked: bool, local_part: bool },
    /// domains, forwardings, transport, users.
    DomainsUsers,
    /// postfix_users and its relatives.
    PostfixTables,
}

impl Family {
    pub fn domain(self, name: &str) -> String {
        match self {
            Self::PostfixAdmin { .. } => format!(
                "INSERT INTO domain (domain, description, aliases, mailboxes, maxquota, transport, backupmx, active) \
                 VALUES ('{name}', '', 0, 0, 0, 'virtual', 0, 1);"
            ),
            Self::DomainsUsers => format!("INSERT INTO domains (domain) VALUES ('{name}');"),
            Self::PostfixTables => {
                format!("INSERT INTO postfix_transport (domain, destination) VALUES ('{name}', 'virtual:');")
            }
        }
    }

    pub fn alias(self, address: &str, goto: &str) -> String {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        match self {
            Self::PostfixAdmin { .. } => format!(
                "INSERT INTO alias (address, goto, domain, active) VALUES ('{address}', '{goto}', '{domain}', 1);"
            ),
            Self::DomainsUsers => {
                format!("INSERT INTO forwardings (email, destination) VALUES ('{address}', '{goto}');")
            }
            Self::PostfixTables => {
                format!("INSERT INTO postfix_virtual (email, destination) VALUES ('{address}', '{goto}');")
            }
        }
    }

    /// A mailbox with the password `Secret 1`; PostfixAdmin makes an alias of the same name beside it.
    pub fn mailbox(self, address: &str, engine: Engine) -> String {
        let (local, domain) = address.split_once('@').unwrap_or((address, ""));
        match self {
            Self::PostfixAdmin { marked, local_part } => {
                let password = if marked { "{PLAIN}Secret 1" } else { "Secret 1" };
                let (name, value) = match local_part {
                    true => (", local_part", format!(", '{local}'")),
                    false => ("", String::new()),
                };
                format!(
                    "INSERT INTO mailbox (username, password, name, maildir, quota, domain, active{name}) VALUES \
                     ('{address}', '{password}', '', '{domain}/{local}/', 1024000, '{domain}', 1{value});\n{}",
                    self.alias(address, address)
                )
            }
            Self::DomainsUsers => {
                // As the tutorial writes it; and what that made of it, with the salt `ab`.
                let password = match engine {
                    Engine::MariaDb => "ENCRYPT('Secret 1')",
                    Engine::Sqlite => "'abQk4d.pcq7l2'",
                };
                format!("INSERT INTO users (email, password) VALUES ('{address}', {password});")
            }
            Self::PostfixTables => format!(
                "INSERT INTO postfix_users (email, clear, uid, gid, homedir, maildir, quota) VALUES \
                 ('{address}', 'Secret 1', 5001, 5002, '/var/vmail', '{domain}/{local}/', '10000000S');"
            ),
        }
    }

    /// The directory that [`common_answers`] is about.
    pub fn rows(self, engine: Engine) -> String {
        let mut sql = String::new();
        for name in ["d.test", "c.test", "e.test"] {
            sql += &self.domain(name);
        }
        for address in ["alice@d.test", "carol@c.test"] {
            sql += &self.mailbox(address, engine);
        }
        let aliases = [
            ("list@d.test", "alice@d.test, far@away.test"),
            ("one@d.test", "two@d.test"),
            ("two@d.test", "three@d.test,other@away.test"),
            ("three@d.test", "alice@d.test"),
            ("loop1@d.test", "loop2@d.test"),
            ("loop2@d.test", "loop1@d.test"),
            ("self@d.test", "self@d.test,alice@d.test"),
            ("gone@d.test", "nobody@d.test"),
            ("@c.test", "alice@d.test"),
            ("@e.test", "@d.test"),
        ];
        for (address, goto) in aliases {
            sql += &self.alias(address, goto);
        }
        sql
    }
}

/// What compat.md 2.3 says, whatever the tables are.
pub fn common_answers(bench: &Bench) -> Result<()> {
    let unknown = "550 5.1.1 User unknown in virtual mailbox table";
    bench.recipients(&[
        ("alice@d.test", "Mailbox: alice@d.test"),
        ("ALICE+tag@D.TEST", "Mailbox: ALICE+tag@d.test"),
        ("list@d.test", "Mailbox: alice@d.test @far@away.test"),
        ("list+x@d.test", "Mailbox: alice+x@d.test @far+x@away.test"),
        ("one@d.test", "Mailbox: alice@d.test @other@away.test"),
        ("one+t@d.test", "Mailbox: alice+t@d.test @other+t@away.test"),
        ("loop1@d.test", "expansion error"),
        ("self@d.test", "Mailbox: !self@d.test alice@d.test"),
        ("gone@d.test", unknown),
        ("nobody@d.test", unknown),
        ("nobody+alice@d.test", unknown),
        ("any@c.test", "Mailbox: alice@d.test"),
        ("carol@c.test", "Mailbox: carol@c.test"),
        ("carol+x@c.test", "Mailbox: carol+x@c.test"),
        ("alice@e.test", "Mailbox: alice@d.test"),
        ("list@e.test", "Mailbox: alice@d.test @far@away.test"),
        ("nobody@e.test", unknown),
        ("x@foreign.test", "Foreign: @x@foreign.test"),
        // Nothing of a key becomes part of a statement or a pattern.
        ("%@d.test", unknown),
        ("_lice@d.test", unknown),
        ("\"x' OR '1'='1\"@d.test", unknown),
        ("\"\\\\' OR 1=1-- \"@d.test", unknown),
        ("иван@d.test", unknown),
        ("😀@d.test", unknown),
    ])?;
    bench.logins(&[
        ("alice@d.test", "Secret 1", "yes"),
        ("Alice@D.test", "Secret 1", "yes"),
        ("alice@d.test", "secret 1", "no"),
        ("alice+tag@d.test", "Secret 1", "no"),
        ("list@d.test", "Secret 1", "no"),
        ("nobody@d.test", "Secret 1", "no"),
        ("' OR 1=1 --@d.test", "Secret 1", "no"),
        ("😀@d.test", "Secret 1", "no"),
    ])
}
