//! The crate map of ARCHITECTURE.md, read as data.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::dependencies::Package;

/// Layer by crate name.
pub struct Map {
    layers: BTreeMap<String, u8>,
}

impl Map {
    /// Reads the table below `## Crate map`.
    pub fn parse(architecture: &str) -> Result<Self> {
        let (_, after) = architecture
            .split_once("## Crate map")
            .context("ARCHITECTURE.md has no crate map")?;
        let section = after.split("\n## ").next().unwrap_or(after);
        let mut layers = BTreeMap::new();
        for line in section.lines().filter(|line| line.starts_with("| ")) {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let (Some(layer), Some(name)) = (cells.next(), cells.next()) else {
                continue;
            };
            let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else {
                continue;
            };
            let digit = layer.split(' ').next().unwrap_or_default();
            let layer = digit
                .parse()
                .with_context(|| format!("the layer of {name} in the crate map: {digit}"))?;
            if layers.insert(name.to_owned(), layer).is_some() {
                bail!("{name} stands twice in the crate map");
            }
        }
        Ok(Self { layers })
    }

    /// The layer of one of our crates; `None` for foreign ones.
    pub fn layer(&self, name: &str) -> Option<u8> {
        self.layers.get(name).copied()
    }

    /// The map has every crate, and every name in it is one.
    pub fn check(&self, packages: &[Package]) -> Vec<String> {
        let missing = packages
            .iter()
            .filter(|package| self.layer(&package.name).is_none())
            .map(|package| format!("{} is missing in the crate map of ARCHITECTURE.md", package.name));
        let invented = self
            .layers
            .keys()
            .filter(|name| !packages.iter().any(|package| package.name == **name))
            .map(|name| format!("the crate map names {name}, which is no crate of the workspace"));
        missing.chain(invented).collect()
    }
}
