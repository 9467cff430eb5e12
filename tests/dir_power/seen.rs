//! The dir store as the listing of datasets that `state.rs` reads: a template's complete versions are snapshots of one
//! head, its drafts are heads without any.

use std::collections::BTreeMap;
use std::path::Path;

use crate::state::Seen;

/// Looks at the state that lies at `state`.
pub fn look(state: &Path) -> Seen {
    let mut files = BTreeMap::new();
    for folder in ["sessions", "templates"] {
        walk(state, &state.join(folder), &mut files);
    }
    let mut list = Vec::new();
    for template in names(&state.join("store/drafts")) {
        let current = files.get(&format!("templates/{template}/current"));
        let current = current.and_then(|link| link.strip_prefix("versions/")?.strip_suffix(".toml"));
        template_lines(state, &template, current, &mut list);
    }
    for session in names(&state.join("store/sessions")) {
        list.push(format!("/sessions/{session}\t-\t-\t-"));
        // Not a line that says a state, but one that tells two looks apart.
        let inside = names(&state.join("store/sessions").join(&session)).join(",");
        list.push(format!("/inside/{session}/{inside}\t-\t-\t-"));
    }
    list.extend(names(&state.join("store/trash")).iter().map(|name| format!("/trash/{name}\t-\t-\t-")));
    Seen::new("", &list.join("\n"), files)
}

fn template_lines(state: &Path, template: &str, current: Option<&str>, list: &mut Vec<String>) {
    let line = |name: &str| format!("/templates/{template}{name}\t-\t-\t-");
    list.push(format!("/templates/{template}\t-\t-\t{}", current.unwrap_or("-")));
    let (trees, drafts) = (
        names(&state.join("store/templates").join(template)),
        names(&state.join("store/drafts").join(template)),
    );
    for name in trees.iter().chain(&drafts).filter(|name| name.starts_with('.')) {
        list.push(format!("/aside/{template}/{name}\t-\t-\t-"));
    }
    if let Some(current) = current {
        list.push(line(&format!("/{current}")));
        for tree in trees.iter().filter(|name| !name.starts_with('.')) {
            list.push(line(&format!("/{current}@{tree}")));
        }
    }
    for draft in drafts.iter().filter(|name| !name.starts_with('.')) {
        // The pointer names it: its place is all that is left to do.
        let is_current = current == Some(draft);
        list.push(line(&if is_current { format!("/{draft}@{draft}") } else { format!("/{draft}") }));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Files with their text, symlinks with their target.
fn walk(top: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for name in names(folder) {
        let path = folder.join(name);
        let name = path.strip_prefix(top).unwrap().display().to_string();
        match (std::fs::read_link(&path), path.is_dir()) {
            (Ok(target), _) => drop(found.insert(name, target.display().to_string())),
            (_, true) => walk(top, &path, found),
            (_, false) => drop(found.insert(name, std::fs::read_to_string(&path).unwrap())),
        }
    }
}
