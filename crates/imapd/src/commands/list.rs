//! LIST and LSUB (RFC 3501 6.3.8, 6.3.9) with CHILDREN (RFC 3348) and SPECIAL-USE (RFC 6154).

use std::collections::{BTreeMap, BTreeSet};

use imap_proto::name::WireName;
use imap_proto::response::Response;
use imap_proto::wildcard;
use maildir_store::FolderName;

use super::folders::user;
use crate::error::{Stop, Tagged};
use crate::session::Session;
use crate::store;

/// What a name in the tree is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Node {
    /// There is such a folder (or subscription), not only children of it.
    real: bool,
    children: bool,
}

/// LIST, or LSUB where `subscribed`.
pub(super) async fn run(
    session: &mut Session,
    reference: &WireName,
    pattern: &WireName,
    subscribed: bool,
) -> Result<Tagged, Stop> {
    let done = Tagged::ok(if subscribed {
        "LSUB completed"
    } else {
        "LIST completed"
    });
    if pattern.0.is_empty() {
        // The special request for the separator.
        let root = Response::List {
            subscribed,
            attributes: &["\\Noselect"],
            separator: Some('.'),
            name: "",
        };
        root.encode(&mut session.wire.out);
        return Ok(done);
    }
    let (Ok(reference), Ok(pattern)) = (reference.decode(), pattern.decode()) else {
        // No name can match what is no name.
        return Ok(done);
    };
    let account = user(session)?.account.clone();
    let (folders, subscriptions) = store::blocking(move || {
        let subscriptions = if subscribed {
            Some(account.subscriptions()?)
        } else {
            None
        };
        Ok((account.folders()?, subscriptions))
    })
    .await?;
    let lines = daemon::blocking(move || {
        let mut out = Vec::new();
        write(
            &folders,
            subscriptions.as_ref(),
            &format!("{reference}{pattern}"),
            &mut out,
        );
        out
    })
    .await;
    session
        .wire
        .out
        .extend(lines.map_err(crate::error::StoreFailure::from)?);
    Ok(done)
}

fn write(
    folders: &[FolderName],
    subscriptions: Option<&BTreeSet<FolderName>>,
    pattern: &str,
    out: &mut Vec<u8>,
) {
    // `INBOX.x` is another name of `x`: who asks below `INBOX.` gets names below it (architecture.md 4).
    let (prefix, pattern) = match pattern.split_at_checked(6) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("INBOX.") => ("INBOX.", rest),
        _ => ("", pattern),
    };
    let existing = tree(folders.iter());
    let listed = subscriptions.map(|subscriptions| tree(subscriptions.iter()));
    for (name, node) in listed.as_ref().unwrap_or(&existing) {
        if !matches(pattern, name) || !prefix.is_empty() && *name == "INBOX" {
            continue;
        }
        let attributes = match subscriptions {
            None => attributes(name, *node),
            // RFC 3501 6.3.9: a parent that is not subscribed but has children that are.
            Some(_) if !node.real => vec!["\\Noselect"],
            Some(_) => existing
                .get(name)
                .map_or_else(|| vec!["\\Noselect"], |node| attributes(name, *node)),
        };
        // For LSUB with `*` a parent that is not subscribed itself says nothing.
        if subscriptions.is_some() && !node.real && !pattern.contains('%') {
            continue;
        }
        let name = format!("{prefix}{name}");
        let subscribed = subscriptions.is_some();
        Response::List {
            subscribed,
            attributes: &attributes,
            separator: Some('.'),
            name: &name,
        }
        .encode(out);
    }
}

/// INBOX is matched without case (RFC 3501 5.1).
fn matches(pattern: &str, name: &str) -> bool {
    wildcard::matches(pattern, name, '.')
        || name == "INBOX" && wildcard::matches(&pattern.to_ascii_uppercase(), name, '.')
}

/// The names with all their parents.
fn tree<'a>(names: impl Iterator<Item = &'a FolderName>) -> BTreeMap<&'a str, Node> {
    let mut tree: BTreeMap<&str, Node> = BTreeMap::new();
    for name in names {
        let name = name.as_str();
        tree.entry(name).or_default().real = true;
        for (end, _) in name.match_indices('.') {
            tree.entry(&name[..end]).or_default().children = true;
        }
    }
    tree
}

fn attributes(name: &str, node: Node) -> Vec<&'static str> {
    let mut list = Vec::with_capacity(3);
    if !node.real {
        list.push("\\Noselect");
    }
    list.push(if node.children {
        "\\HasChildren"
    } else {
        "\\HasNoChildren"
    });
    if node.real {
        let special = SPECIAL_USE.iter().find(|(special, _)| *special == name);
        list.extend(special.map(|(_, attribute)| *attribute));
    }
    list
}

/// Folders whose names say what they are for (RFC 6154 section 2).
const SPECIAL_USE: [(&str, &str); 5] = [
    ("Archive", "\\Archive"),
    ("Drafts", "\\Drafts"),
    ("Junk", "\\Junk"),
    ("Sent", "\\Sent"),
    ("Trash", "\\Trash"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<FolderName> {
        list.iter().map(|name| FolderName::parse(name).unwrap()).collect()
    }

    fn list(pattern: &str, subscriptions: Option<&[&str]>) -> Vec<String> {
        let folders = names(&["INBOX", "Sent", "a", "a.b", "c.d.e"]);
        let subscriptions = subscriptions.map(|list| names(list).into_iter().collect());
        let mut out = Vec::new();
        write(&folders, subscriptions.as_ref(), pattern, &mut out);
        String::from_utf8(out)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn parents_and_special_use() {
        assert_eq!(
            list("*", None),
            [
                "* LIST (\\HasNoChildren) \".\" \"INBOX\"",
                "* LIST (\\HasNoChildren \\Sent) \".\" \"Sent\"",
                "* LIST (\\HasChildren) \".\" \"a\"",
                "* LIST (\\HasNoChildren) \".\" \"a.b\"",
                "* LIST (\\Noselect \\HasChildren) \".\" \"c\"",
                "* LIST (\\Noselect \\HasChildren) \".\" \"c.d\"",
                "* LIST (\\HasNoChildren) \".\" \"c.d.e\"",
            ]
        );
        assert_eq!(list("%", None).len(), 4);
        assert_eq!(list("inbox", None), ["* LIST (\\HasNoChildren) \".\" \"INBOX\""]);
        assert_eq!(
            list("c.%", None),
            ["* LIST (\\Noselect \\HasChildren) \".\" \"c.d\""]
        );
    }

    #[test]
    fn below_inbox_lie_the_same_folders() {
        assert_eq!(
            list("INBOX.%", None),
            [
                "* LIST (\\HasNoChildren \\Sent) \".\" \"INBOX.Sent\"",
                "* LIST (\\HasChildren) \".\" \"INBOX.a\"",
                "* LIST (\\Noselect \\HasChildren) \".\" \"INBOX.c\"",
            ]
        );
    }

    #[test]
    fn subscriptions() {
        let subscribed = Some(&["a.b", "gone.x"][..]);
        assert_eq!(
            list("*", subscribed),
            [
                "* LSUB (\\HasNoChildren) \".\" \"a.b\"",
                "* LSUB (\\Noselect) \".\" \"gone.x\""
            ]
        );
        // RFC 3501 6.3.9
        assert_eq!(
            list("%", subscribed),
            [
                "* LSUB (\\Noselect) \".\" \"a\"",
                "* LSUB (\\Noselect) \".\" \"gone\""
            ]
        );
    }

    #[test]
    fn hostile_patterns_over_many_folders() {
        // robustness.md I19
        let folders: Vec<FolderName> = (0..10_000)
            .map(|n| FolderName::parse(&format!("folder.number.{n}")).unwrap())
            .collect();
        let start = std::time::Instant::now();
        let mut out = Vec::new();
        write(
            &folders,
            None,
            &("*%".repeat(1000) + "*a*b*c*d*e*f*g*h*x"),
            &mut out,
        );
        assert!(
            out.is_empty() && start.elapsed() < std::time::Duration::from_secs(20),
            "{:?}",
            start.elapsed()
        );
    }
}
