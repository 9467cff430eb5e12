//! The table of the defects in the docs has all of them.

use std::collections::BTreeSet;
use std::path::Path;

/// The names of tests in a text.
fn names(text: &str) -> BTreeSet<String> {
    let word =
        |at: usize| text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    text.match_indices("clients_defect_")
        .map(|(at, _)| word(at))
        .filter(|name: &String| name.len() > 15)
        .collect()
}

#[test]
fn clients_the_table_in_the_docs_names_each_defect_and_no_other() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::fs::read_dir(here.join("tests/schroot_defects")).unwrap();
    let files = folder.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let tests: BTreeSet<String> = files.flat_map(|text| names(&text)).collect();
    let table = names(&std::fs::read_to_string(here.join("docs/schroot-defects.md")).unwrap());
    assert_eq!(table, tests);
}
