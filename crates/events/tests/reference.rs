//! The page of the decision log is that of this code; `UPDATE=1` writes it anew.

use events::reference;

#[test]
fn the_page_is_fresh_and_every_kind_is_explained() {
    let text = reference::markdown();
    assert!(text.contains("### `recipient_accepted`") && text.matches("### `").count() > 60);
    for line in text.lines().filter(|line| line.starts_with("- `")) {
        assert!(!line.ends_with(": "), "no doc comment: {line}");
        assert!(!line.contains("()"), "no type: {line}");
    }
    let file = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
        .join("../../docs/formats/events.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == text,
        "docs/formats/events.md is stale: run cargo xtask codegen"
    );
}
