//! `cargo xtask tidy`: the rules of ARCHITECTURE.md as checks, also run as a test of this package.

mod dependencies;
mod map;
mod sources;

use std::path::Path;

use ::tests::binaries;
use anyhow::{Result, bail};

/// Checks the whole tree and prints every fault.
pub fn run() -> Result<()> {
    let faults = faults(&binaries::workspace_root())?;
    if faults.is_empty() {
        eprintln!("tidy");
        return Ok(());
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    bail!("{} faults of tidiness", faults.len())
}

/// All faults, one line each.
fn faults(root: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    let map = map::Map::parse(&text)?;
    let packages = dependencies::packages(root)?;
    let mut faults = map.check(&packages);
    faults.extend(dependencies::check(&map, &packages));
    faults.extend(sources::check(root, &map)?);
    Ok(faults)
}

#[cfg(test)]
mod tests {
    //! The tree is tidy, and each rule finds what it is there to find.

    use super::dependencies::{Dependency, Package};
    use super::map::Map;
    use super::{binaries, dependencies, faults, sources};

    const MAP: &str = "## Crate map\n\n| layer | crate | what |\n|---|---|---|\n| 0 w | `words` | w |\n\
                       | 1 p | `proto` | p |\n| 2 s | `x-api` | a |\n| 3 d | `authd` | d |\n| 3 d | `smtpd` | d |\n\n## Next\n";

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|&name| Dependency {
                name: name.to_owned(),
                for_tests: false,
            })
            .collect();
        Package {
            name: name.to_owned(),
            folder: name.to_owned(),
            inherits_lints: true,
            dependencies,
        }
    }

    #[test]
    fn the_tree_is_tidy() {
        let faults = faults(&binaries::workspace_root()).unwrap();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn the_map_has_to_be_complete_both_ways() {
        let map = Map::parse(MAP).unwrap();
        let mut packages: Vec<Package> = ["words", "proto", "x-api", "authd"]
            .iter()
            .map(|name| package(name, &[]))
            .collect();
        packages.push(package("stranger", &[]));
        let faults = map.check(&packages).join("\n");
        assert!(
            faults.contains("stranger is missing in the crate map"),
            "{faults}"
        );
        assert!(faults.contains("the crate map names smtpd"), "{faults}");
    }

    #[test]
    fn arrows_may_not_point_up_nor_between_daemons() {
        let map = Map::parse(MAP).unwrap();
        let rules = [
            ("words", "proto", "points up"),
            ("x-api", "authd", "points up"),
            ("smtpd", "authd", "a daemon depends on a daemon"),
            ("smtpd", "rusqlite", "SQL driver"),
            ("smtpd", "mysql_async", "SQL driver"),
            ("authd", "tonic", "gRPC"),
            ("smtpd", "prost", "gRPC"),
            ("proto", "tokio", "no I/O"),
        ];
        for (from, to, wanted) in rules {
            let faults = dependencies::check(&map, &[package(from, &[to])]).join("\n");
            assert!(faults.contains(wanted), "{from} -> {to}: {faults:?}");
        }
        let fine = [
            package("proto", &["words", "nom"]),
            package("authd", &["rusqlite"]),
            package("x-api", &["tonic"]),
        ];
        assert_eq!(dependencies::check(&map, &fine), Vec::<String>::new());
    }

    #[test]
    fn sources_are_read_for_syncs_input_and_first_sentences() {
        let map = Map::parse(MAP).unwrap();
        let check = |path: &str, text: &str| sources::check_file(path, text, &map).join("\n");
        let sync = ["file.sync", "_all()?;"].concat();
        assert!(
            check("crates/smtpd/src/a.rs", &format!("//! A.\n{sync}\n"))
                .contains("only the crate durable syncs")
        );
        assert!(check("crates/durable/src/a.rs", &format!("//! A.\n{sync}\n")).is_empty());
        assert!(check("crates/proto/src/a.rs", "//! A.\nuse std::net::TcpStream;\n").contains("no I/O"));
        assert!(check("crates/smtpd/src/a.rs", "use std::net::TcpStream;\n").contains("first line"));
        assert!(check("crates/smtpd/src/util.rs", "//! A.\n").contains("says nothing"));
        let stub = ["to", "do!()"].concat();
        assert!(check("crates/smtpd/src/a.rs", &format!("//! A.\n{stub}\n")).contains("unfinished"));
        assert!(check("crates/proto/src/a.rs", "//! A.\n// std::net is not used here\n").is_empty());
    }
}
