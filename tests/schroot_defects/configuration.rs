//! Configuration that is right as schroot.conf(5) has it, or of no concern to the chroot in question.

use crate::lab::{Lab, mended};

fn blanks_after_values(lab: &Lab) -> String {
    let name = lab.define("type=directory \ndirectory=TREE\t\n");
    let told = lab.schroot(&["-c", &name, "-d", "/", "--", "echo", "in"]);
    format!("{} {}", told.status.unwrap(), told.text())
}

#[test]
fn clients_defect_blanks_after_a_value_are_no_part_of_it() {
    mended(blanks_after_values, "1 ", "0 in");
}

fn comments_after_values(lab: &Lab) -> String {
    let name = lab.define("description=a chroot # of ours\ntype=directory\ndirectory=TREE # on the disk\n");
    let told = lab.schroot(&["--config", "-c", &name]).ok();
    let values = told.text().lines().filter_map(|line| line.strip_prefix("description="));
    let run = lab.status(&["-c", &name, "-d", "/", "--", "true"]);
    format!("{:?}, run {run}", values.collect::<Vec<_>>().concat())
}

#[test]
fn clients_defect_a_comment_after_a_value_is_no_part_of_it() {
    mended(comments_after_values, "\"a chroot # of ours\", run 1", "\"a chroot\", run 0");
}

/// The remarks of a listing, without where and of whom.
fn remarks(lab: &Lab, keys: &str) -> String {
    lab.define(keys);
    let told = lab.schroot(&["-l"]);
    let last = |line: &str| line.rsplit(": ").next().unwrap_or_default().to_owned();
    let remarks: Vec<String> =
        told.stderr.lines().filter(|line| !line.starts_with("I: ")).map(last).collect();
    format!("{} [{}]", told.status.unwrap(), remarks.join(" "))
}

#[test]
fn clients_defect_a_priority_is_not_worth_a_warning() {
    let keys = "type=directory\ndirectory=TREE\npriority=3\n";
    mended(|lab| remarks(lab, keys), "0 [Could not parse value ‘3’]", "0 []");
}

#[test]
fn clients_defect_the_keys_of_custom_chroots_are_known() {
    let scenario = |lab: &Lab| {
        let purgeable = remarks(lab, "type=custom\ncustom-session-purgeable=true\n");
        format!("{purgeable}, {}", remarks(lab, "type=custom\ncustom-session-cloneable=true\n"))
    };
    let defect = "0 [Configuration key name ‘custom-session-purgeable’ is not a permitted name.], \
                  1 [Attempt to add facet which is already in use]";
    mended(scenario, defect, "0 [], 0 []");
}

/// What is printed of a chroot can be read again.
fn printed_and_read(lab: &Lab) -> String {
    let name = lab.define("type=zfs-snapshot\nzfs-dataset=pool/sid\n");
    let printed = lab.schroot(&["--config", "-c", &name]).ok();
    lab.write("/etc/schroot/chroot.d/one", &printed.stdout);
    let told = lab.schroot(&["-l"]);
    let about = told.stderr.lines().find(|line| line.contains("zfs-dataset")).unwrap_or_default();
    format!("{} [{}]", told.status.unwrap(), about.rsplit(": ").next().unwrap())
}

#[test]
fn clients_defect_a_printed_snapshot_chroot_can_be_read_again() {
    mended(printed_and_read, "1 [Required key ‘zfs-dataset’ is missing]", "0 []");
}

/// Of each call, whether it does its work and has nothing to remark.
fn beside_a_broken_file(lab: &Lab) -> String {
    let name = lab.define("type=directory\ndirectory=TREE\n");
    lab.write("/etc/schroot/chroot.d/broken", "this is no configuration\n");
    let calls: [&[&str]; 4] = [
        &["--config", "-c", &name],
        &["--location", "-c", &name],
        &["-l", "-c", &name],
        &["-c", &name, "-d", "/", "--", "true"],
    ];
    let clean = |words: &&[&str]| {
        let told = lab.schroot(words);
        (told.status, told.stderr.as_str()) == (Some(0), "")
    };
    let clean: Vec<String> = calls.iter().map(|words| clean(words).to_string()).collect();
    let told = lab.schroot(&["-l"]);
    format!("{}, listing: {} {}", clean.join(" "), told.status.unwrap(), told.stderr.contains("broken"))
}

#[test]
fn clients_defect_a_broken_file_stops_no_other_chroot() {
    mended(
        beside_a_broken_file,
        "false false false false, listing: 1 true",
        "true true true true, listing: 0 true",
    );
}
