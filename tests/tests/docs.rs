//! The pages in `docs/` and the two at the top are true where a program can tell: links and file names exist, and the
//! list of standards names those that the code cites.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use regex::Regex;
use tests::binaries;

#[test]
fn links_lead_somewhere() -> Result<()> {
    let link = Regex::new(r"\]\(([^)#:]+)(#[^)]*)?\)")?;
    let mut broken = Vec::new();
    for page in pages()? {
        let text = fs::read_to_string(&page)?;
        let folder = page.parent().context("a page without a folder")?;
        for found in link.captures_iter(&text) {
            if !folder.join(&found[1]).exists() {
                broken.push(format!("{}: {}", page.display(), &found[1]));
            }
        }
    }
    ensure!(
        broken.is_empty(),
        "these links lead nowhere:\n{}",
        broken.join("\n")
    );
    Ok(())
}

#[test]
fn files_that_are_named_exist() -> Result<()> {
    let name = Regex::new(r"`((?:crates|tests|deploy|docs|proto|xtask)/[A-Za-z0-9_./-]+)`")?;
    let root = binaries::workspace_root();
    let mut missing = Vec::new();
    for page in pages()? {
        let text = fs::read_to_string(&page)?;
        for found in name.captures_iter(&text) {
            // NAME, ID and the like stand for something.
            let stands_for = found[1]
                .split('/')
                .any(|part| part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase()));
            if !stands_for && !root.join(&found[1]).exists() {
                missing.push(format!("{}: {}", page.display(), &found[1]));
            }
        }
    }
    ensure!(
        missing.is_empty(),
        "these files do not exist:\n{}",
        missing.join("\n")
    );
    Ok(())
}

#[test]
fn standards_are_those_that_the_code_cites() -> Result<()> {
    let root = binaries::workspace_root();
    let table = fs::read_to_string(root.join("docs/rfcs.md"))?;
    let number = Regex::new(r"\b\d{3,4}\b")?;
    let listed: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|cell| {
            number
                .find_iter(cell)
                .map(|found| found.as_str().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    ensure!(listed.len() > 30, "the table cannot be read");
    let citation = Regex::new(r"RFC (\d{3,4})")?;
    let mut cited = BTreeSet::new();
    for file in files(&root.join("crates"), "rs")? {
        let text = fs::read_to_string(&file)?;
        cited.extend(citation.captures_iter(&text).map(|found| found[1].to_owned()));
    }
    let uncited: Vec<_> = listed.difference(&cited).collect();
    ensure!(
        uncited.is_empty(),
        "listed in docs/rfcs.md, but no code cites them: {uncited:?}"
    );
    Ok(())
}

/// README, ARCHITECTURE, and everything in `docs/` and `deploy/`.
fn pages() -> Result<Vec<PathBuf>> {
    let root = binaries::workspace_root();
    let mut pages = vec![
        root.join("README.md"),
        root.join("ARCHITECTURE.md"),
        root.join("deploy/README.md"),
    ];
    pages.extend(files(&root.join("docs"), "md")?);
    ensure!(pages.len() > 10, "the pages were not found");
    Ok(pages)
}

/// The files below a folder that end like this.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, ending)?);
        } else if path.extension().is_some_and(|actual| actual == ending) {
            found.push(path);
        }
    }
    Ok(found)
}
