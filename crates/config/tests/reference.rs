//! The generated pages are those of this code; `UPDATE=1` writes them anew.

use config::reference;

#[test]
fn generated_pages_are_fresh() {
    let root = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    for (path, text) in [
        ("docs/configuration.md", reference::markdown()),
        ("deploy/postrider.toml", reference::sample()),
    ] {
        let file = root.join(path);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == text, "{path} is stale: run cargo xtask codegen");
    }
}
