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

/// Splits at commas and line breaks outside of quotes and comments.
fn split(goto: &str) -> Vec<&str> {
    let mut scan = Scan::default();
    let mut start = 0;
    let mut entries = Vec::new();
    for (at, c) in goto.char_indices() {
        let inside = scan.takes(c);
        if !inside && matches!(c, ',' | '\n' | '\r') {
            entries.push(&goto[start..at]);
            start = at + 1;
        }
    }
    let last = &goto[start..];
    if scan.comments > 0 {
        // One that never ends is none, and hides no further target.
        entries.extend(last.split(','));
    } else {
        entries.push(last);
    }
    entries
}

/// Where in a list of addresses (RFC 5322 section 3.4) a character stands.
#[derive(Default)]
struct Scan {
    quoted: bool,
    escaped: bool,
    /// Comments around it.
    comments: usize,
}

impl Scan {
    /// Goes on by one character. True where it belongs to a quoted string or a comment.
    fn takes(&mut self, c: char) -> bool {
        let before = self.quoted || self.comments > 0;
        match c {
            _ if self.escaped => {
                self.escaped = false;
                return true;
            }
            '\\' => self.escaped = true,
            '"' if self.comments == 0 => self.quoted = !self.quoted,
            '(' if !self.quoted => self.comments += 1,
            ')' if !self.quoted => self.comments = self.comments.saturating_sub(1),
            // A comment does not go on in the next line: what follows is a target of its own.
            '\n' | '\r' if !self.quoted => {
                self.comments = 0;
                return false;
            }
            _ => {}
        }
        before || self.quoted || self.comments > 0
    }
}

/// The text without its comments.
fn without_comments(entry: &str) -> String {
    let mut scan = Scan::default();
    let mut text = String::with_capacity(entry.len());
    for c in entry.chars() {
        let before = scan.comments;
        scan.takes(c);
        if before == 0 && scan.comments == 0 {
            text.push(c);
        }
    }
    // One that never ends is none.
    if scan.comments > 0 { entry.to_owned() } else { text }
}

/// The address in `Name <address>`, or the whole text.
fn addr_spec(text: &str) -> &str {
    let Some(rest) = text.strip_suffix('>') else {
        return text;
    };
    let mut scan = Scan::default();
    let begin = rest.char_indices().find(|(_, c)| !scan.takes(*c) && *c == '<');
    begin.map_or(text, |(at, _)| rest[at + 1..].trim())
}

fn read(entry: &str, first: bool, own_domain: &Domain) -> AliasTarget {
    let plain = without_comments(entry);
    let bare = addr_spec(plain.trim());
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
    let unquoted = bare.strip_prefix('"').unwrap_or(bare).trim_start();
    let name = !bare.contains('@') && !unquoted.starts_with(['|', '/', ':']);
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
    fn names_and_comments() {
        assert_eq!(
            addresses("Alice <alice@d.test>, \"Bob, B. <b>\" <bob@d.test>, a@d.test (the (old), one)"),
            ["alice@d.test", "bob@d.test", "a@d.test"]
        );
        assert_eq!(addresses("(all) <@other.test>"), ["@other.test"]);
        // What is quoted is no comment, and one without an end hides no further target.
        assert_eq!(addresses("\"a(b\"@d.test"), ["\"a(b\"@d.test"]);
        assert_eq!(addresses("a@d.test (x\nb@d.test"), ["!a@d.test (x", "b@d.test"]);
        assert_eq!(addresses("a@d.test (x, b@d.test"), ["!a@d.test (x", "b@d.test"]);
    }

    #[test]
    fn same_user_only_in_front() {
        assert_eq!(addresses("@other.test,a@d.test"), ["@other.test", "a@d.test"]);
        assert_eq!(addresses("a@d.test,@other.test"), ["a@d.test", "!@other.test"]);
    }

    #[test]
    fn what_is_no_address() {
        assert_eq!(
            addresses("|/bin/x,\"|/bin/x arg\",/tmp/file,:include:/x,a@[127.0.0.1],\"open@d.test"),
            [
                "!|/bin/x",
                "!\"|/bin/x arg\"",
                "!/tmp/file",
                "!:include:/x",
                "!a@[127.0.0.1]",
                "!\"open@d.test"
            ]
        );
    }
}
