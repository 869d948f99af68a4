//! The text of `alias.goto`: a list of addresses (compat.md 1.4 and 2.3).

use mail_types::{Address, Domain};

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasTarget {
    /// An address; unqualified names got our own domain.
    Address(Address),
    /// `@other` as first entry: the same user there.
    SameUserAt(Domain),
    /// What cannot be delivered to: a command, a file, a broken address. As it is written.
    Unusable(String),
}

/// Splits and reads the list. Blanks and line breaks around entries are tolerated, empty entries skipped.
pub fn parse(goto: &str, own_domain: &Domain) -> Vec<AliasTarget> {
    entries(goto)
        .enumerate()
        .map(|(index, entry)| read(entry, index == 0, own_domain))
        .collect()
}

/// The entries as they are written, without the blanks around them.
pub fn entries(goto: &str) -> impl Iterator<Item = &str> {
    split(goto)
        .into_iter()
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

/// Splits at commas and line breaks outside of quotes.
fn split(goto: &str) -> Vec<&str> {
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    let mut entries = Vec::new();
    for (at, c) in goto.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' | '\n' | '\r' if !quoted => {
                entries.push(&goto[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    entries.push(&goto[start..]);
    entries
}

fn read(entry: &str, first: bool, own_domain: &Domain) -> AliasTarget {
    let bare = entry
        .strip_prefix('<')
        .and_then(|e| e.strip_suffix('>'))
        .unwrap_or(entry);
    let unusable = || AliasTarget::Unusable(entry.to_owned());
    if let Some(domain) = bare.strip_prefix('@') {
        // Postfix honours `@other` only as first result.
        return match Domain::new(domain) {
            Ok(domain) if first => AliasTarget::SameUserAt(domain),
            _ => unusable(),
        };
    }
    if let Ok(address) = Address::parse(bare) {
        return AliasTarget::Address(address);
    }
    // A name without a domain is qualified; a pipe, path or include is not a name.
    let name = !bare.contains('@') && !bare.starts_with(['|', '/', ':']);
    if name && let Ok(address) = Address::parse(&format!("{bare}@{own_domain}")) {
        return AliasTarget::Address(address);
    }
    unusable()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(goto: &str) -> Vec<String> {
        parse(goto, &Domain::new("own.test").unwrap())
            .into_iter()
            .map(|target| match target {
                AliasTarget::Address(address) => address.to_string(),
                AliasTarget::SameUserAt(domain) => format!("@{domain}"),
                AliasTarget::Unusable(text) => format!("!{text}"),
            })
            .collect()
    }

    #[test]
    fn lists_as_people_write_them() {
        assert_eq!(addresses("a@d.test,b@e.test"), ["a@d.test", "b@e.test"]);
        assert_eq!(
            addresses(" a@d.test, b@e.test ,\r\n<c@f.test>,,"),
            ["a@d.test", "b@e.test", "c@f.test"]
        );
        assert_eq!(
            addresses("root, \"x, y\"@d.test"),
            ["root@own.test", "\"x, y\"@d.test"]
        );
        assert_eq!(
            addresses("u#d.test@autoreply.d.test"),
            ["u#d.test@autoreply.d.test"]
        );
        assert_eq!(addresses(""), Vec::<String>::new());
    }

    #[test]
    fn same_user_only_in_front() {
        assert_eq!(addresses("@other.test,a@d.test"), ["@other.test", "a@d.test"]);
        assert_eq!(addresses("a@d.test,@other.test"), ["a@d.test", "!@other.test"]);
    }

    #[test]
    fn what_is_no_address() {
        assert_eq!(
            addresses("|/bin/x,/tmp/file,:include:/x,a@[127.0.0.1],\"open@d.test"),
            [
                "!|/bin/x",
                "!/tmp/file",
                "!:include:/x",
                "!a@[127.0.0.1]",
                "!\"open@d.test"
            ]
        );
    }
}
