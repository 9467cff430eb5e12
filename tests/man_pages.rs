//! The manual says what the program does: generated parts are up to date, and every command, option, exit
//! status and key of the configuration is described.

#![expect(clippy::disallowed_methods, reason = "reads files of the source tree")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use zchroot::cli::{Cli, Status};

#[path = "../xtask/src/man/pages.rs"]
#[allow(unreachable_pub, reason = "public to the tool that owns the file")]
mod pages;

const PAGES: [&str; 3] = ["zchroot.8", "zchroot.toml.5", "zchroot-templates.5"];

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn page(name: &str) -> String {
    std::fs::read_to_string(in_tree("man").join(name)).unwrap()
}

fn command_line() -> Command {
    let mut root = Cli::command();
    root.build();
    root
}

/// The text between one `.SH` and the next.
fn section<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, rest) =
        page.split_once(&format!("\n.SH {name}\n")).unwrap_or_else(|| panic!("no section {name}"));
    rest.split("\n.SH ").next().unwrap()
}

/// The words of the tags of a page: the first word after each `.TP`, without fonts and escapes.
fn tags(text: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = text.lines().collect();
    let tagged = lines.windows(2).filter(|pair| pair[0] == ".TP").map(|pair| plain(pair[1]));
    tagged.filter_map(|tag| tag.split([' ', ',']).next().map(str::to_owned)).collect()
}

fn plain(line: &str) -> String {
    let line = line.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "");
    let bare = [".BR ", ".BI ", ".B ", ".I "].iter().find_map(|font| line.strip_prefix(font));
    bare.unwrap_or(&line).replace('"', "")
}

/// Keys of the struct `name` in a source file, as serde's kebab-case names them.
fn keys(source: &str, name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(in_tree(source)).unwrap();
    let (_, body) = text.split_once(&format!("struct {name} {{\n")).unwrap_or_else(|| panic!("no {name}"));
    let body = body.split("\n}").next().unwrap();
    let fields = body.lines().map(str::trim).filter(|line| !line.starts_with(['#', '/']));
    let found: BTreeSet<String> = fields
        .filter_map(|line| line.split_once(':'))
        .map(|(field, _)| field.trim_start_matches('_').replace('_', "-"))
        .collect();
    assert!(!found.is_empty(), "{name} has no fields");
    found
}

/// Values of the enum `name` in a source file, in lower case as serde names them.
fn values(source: &str, name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(in_tree(source)).unwrap();
    let (_, body) = text.split_once(&format!("enum {name} {{\n")).unwrap_or_else(|| panic!("no {name}"));
    let body = body.split("\n}").next().unwrap();
    let variants = body.lines().filter_map(|line| line.strip_prefix("    "));
    let found: BTreeSet<String> = variants
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| line.trim_end_matches([',', ' ', '{']).to_lowercase())
        .collect();
    assert!(!found.is_empty(), "{name} has no values");
    found
}

#[test]
fn generated_parts_are_as_the_command_line_is() {
    let root = command_line();
    for name in PAGES {
        let old = page(name);
        let new = pages::rewrite(&old, &root).unwrap();
        assert!(old == new, "man/{name} is out of date: run `cargo xtask man`");
    }
}

#[test]
fn every_command_has_its_part() {
    let text = page("zchroot.8");
    let regions: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix(".\\\" BEGIN GENERATED ")).collect();
    let root = command_line();
    for (name, _) in pages::commands(&root) {
        assert_eq!(regions.iter().filter(|region| **region == name).count(), 1, "{name}");
    }
    for name in ["synopsis", "globals"] {
        assert!(regions.contains(&name), "{name}");
    }
}

#[test]
fn every_option_is_described() {
    let text = page("zchroot.8");
    let root = command_line();
    for (name, command) in pages::commands(&root) {
        let (_, part) = text.split_once(&format!("BEGIN GENERATED {name}\n")).unwrap();
        let part = plain(part.split(".\\\" END GENERATED").next().unwrap());
        for option in pages::own_options(command) {
            let long = option.get_long().unwrap();
            assert!(part.contains(&format!("--{long}")), "{name} --{long}");
        }
    }
    let globals = plain(section(&text, "OPTIONS"));
    for option in root.get_arguments().filter(|arg| !arg.is_positional()) {
        let long = option.get_long().unwrap();
        assert!(globals.contains(&format!("--{long}")), "--{long}");
    }
}

#[test]
fn every_exit_status_is_described() {
    let text = page("zchroot.8");
    let all = [
        Status::Ok,
        Status::Failed,
        Status::Usage,
        Status::Busy,
        Status::NotFound,
        Status::EnterFailed,
        Status::NotExecutable,
        Status::CommandNotFound,
    ];
    let mut codes: BTreeSet<String> = all.iter().map(|status| status.code().to_string()).collect();
    codes.insert("128+".to_owned());
    assert_eq!(Status::Signal(0).code(), 128);
    // A new status has to be put into the list above, and into the manual.
    match Status::Ok {
        Status::Ok | Status::Failed | Status::Usage | Status::Busy | Status::NotFound => {}
        Status::EnterFailed | Status::NotExecutable | Status::CommandNotFound => {}
        Status::Command(_) | Status::Signal(_) => {}
    }
    assert_eq!(tags(section(&text, "EXIT STATUS")), codes);
}

#[test]
fn every_key_of_the_host_s_configuration_is_described() {
    let mut known = keys("src/template/config.rs", "File");
    known.remove("zfs");
    known.extend(keys("src/template/config.rs", "ZfsTable"));
    known.remove("images");
    known.extend(keys("src/template/config.rs", "ImagesTable"));
    known.remove("dir");
    known.extend(keys("src/template/config.rs", "DirTable"));
    known.remove("space");
    known.extend(keys("src/template/space.rs", "SpaceTable"));
    assert_eq!(tags(section(&page("zchroot.toml.5"), "KEYS")), known);
}

#[test]
fn every_key_of_a_template_is_described() {
    let mut known = keys("src/template/definition.rs", "File");
    known.remove("source");
    // The lists of [source] are described with those of the template, but for what only [source] has.
    known.extend(keys("src/template/definition.rs", "SourceTable"));
    assert_eq!(tags(section(&page("zchroot-templates.5"), "TEMPLATES")), known);
}

#[test]
fn every_key_of_a_profile_is_described() {
    let text = page("zchroot-templates.5");
    let profiles = section(&text, "PROFILES");
    let (head, mounts) = profiles.split_once("\n.SS \"Mounts: [[mount]]\"\n").unwrap();
    let (mounts, files) = mounts.split_once("\n.SS \"Files: [[file]]\"\n").unwrap();
    let (_, head) = head.split_once("\n.SS Keys of a profile\n").unwrap();
    let source = "src/template/profile_file.rs";
    let mut top = keys(source, "File");
    assert!(top.remove("mount") && top.remove("file"));
    assert_eq!(tags(head), top);
    assert_eq!(tags(mounts), keys(source, "MountTable"));
    assert_eq!(tags(files), keys(source, "FileTable"));
}

#[test]
fn every_value_that_is_a_word_is_described() {
    let templates = page("zchroot-templates.5");
    let config = page("zchroot.toml.5");
    for (text, source, name) in [
        (&templates, "src/template/definition.rs", "Net"),
        (&templates, "src/template/definition.rs", "Place"),
        (&templates, "src/template/profile_file.rs", "Kind"),
        (&templates, "src/template/profile.rs", "NssDatabase"),
        (&config, "src/store/mod.rs", "Kind"),
    ] {
        let bold: BTreeSet<String> = text
            .lines()
            .filter(|line| line.starts_with(".B"))
            .filter_map(|line| plain(line).split(' ').next().map(str::to_owned))
            .collect();
        for value in values(source, name) {
            assert!(bold.contains(&value), "{name}: {value}");
        }
    }
}

#[test]
fn every_built_in_profile_is_described() {
    let described = tags(section(&page("zchroot-templates.5"), "PROFILES"));
    for entry in std::fs::read_dir(in_tree("etc/profiles")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(described.contains(name), "{name}");
    }
}

#[test]
fn a_region_that_is_not_closed_or_names_no_command_is_an_error() {
    let root = command_line();
    for page in [
        ".\\\" BEGIN GENERATED run\n",
        ".\\\" BEGIN GENERATED run\n.\\\" BEGIN GENERATED end\n.\\\" END GENERATED\n",
        ".\\\" BEGIN GENERATED walk\n.\\\" END GENERATED\n",
    ] {
        assert!(pages::rewrite(page, &root).is_err(), "{page}");
    }
}

#[test]
fn what_stands_outside_of_regions_stays() {
    let root = command_line();
    let page = ".SH A\nby hand\n.\\\" BEGIN GENERATED globals\nold\n.\\\" END GENERATED\nby hand too\n";
    let text = pages::rewrite(page, &root).unwrap();
    assert!(text.starts_with(".SH A\nby hand\n.\\\" BEGIN GENERATED globals\n.TP\n"), "{text}");
    assert!(text.ends_with("\n.\\\" END GENERATED\nby hand too\n"), "{text}");
    assert!(!text.contains("\nold\n"));
    assert_eq!(pages::rewrite(&text, &root).unwrap(), text);
}
