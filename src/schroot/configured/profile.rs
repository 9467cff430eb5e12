//! The profile of a chroot as schroot has it: the files that `setup.fstab`, `setup.copyfiles` and
//! `setup.nssdatabases` name below /etc/schroot, for our own set-up.
//!
//! Reading is trusting, as with all configuration; what the files say is done inside the tree as a profile of ours is.
//! A chroot whose profile has no folder there gets the one of zchroot that has its name.

use std::path::{Path, PathBuf};

use super::super::config::DIRECTORY;
use crate::cli::context::Context;
use crate::schroot::definition::Definition;
use crate::template::{self, ConfigDir, HostFile, Mount, MountKind, NssDatabase, Profile};

/// How sessions of a chroot are set up.
///
/// # Errors
/// There is no such profile, or a file of it cannot be used.
pub(super) fn profile(context: &Context, definition: &Definition) -> Result<Profile, String> {
    if !definition.script_config.is_empty() {
        return Err("script-config is not supported: name a profile in its place".to_owned());
    }
    let name = &definition.profile;
    let top = ConfigDir::open_below(context.layout.root(), Path::new(DIRECTORY), 0).map_err(text)?;
    let has_folder = match &top {
        Some(top) if is_part(name) => top.sub(name).map_err(text)?.is_some(),
        _ => false,
    };
    let mut profile = match has_folder {
        true => Profile::default(),
        false => ours(context, name)?,
    };
    profile.name.clone_from(name);
    for (key, kind) in KEYS {
        let file = definition.user_data.get(key).map(String::as_str).unwrap_or_default();
        let is_of_profile = file == format!("{name}/{}", key.trim_start_matches("setup."));
        if is_of_profile && !has_folder {
            continue;
        }
        let lines = match &top {
            Some(top) if !file.is_empty() => read(top, file)?,
            _ => String::new(),
        };
        kind(&lines, &mut profile).map_err(|why| format!("/{DIRECTORY}/{file}: {why}"))?;
    }
    Ok(profile)
}

type Reader = fn(&str, &mut Profile) -> Result<(), String>;
const KEYS: [(&str, Reader); 3] =
    [("setup.fstab", fstab), ("setup.nssdatabases", databases), ("setup.copyfiles", files)];

/// The profile of zchroot of this name.
fn ours(context: &Context, name: &str) -> Result<Profile, String> {
    let missing = |why: String| format!("profile {name}: {why}");
    let parsed = name.parse().map_err(|error: crate::store::NameError| missing(error.to_string()))?;
    template::profile(&context.layout, &parsed).map_err(|error| missing(text(error)))
}

fn text(error: template::Error) -> String {
    crate::sys::chain(&error)
}

fn is_part(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains('/')
}

/// A file below /etc/schroot.
fn read(top: &ConfigDir, path: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("/{DIRECTORY}/{path}: {why}");
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if !parts.iter().all(|part| is_part(part)) {
        return Err(wrong("it has to lie there"));
    }
    let Some((last, folders)) = parts.split_last() else { return Err(wrong("it is no file")) };
    let mut found: Option<ConfigDir> = None;
    for folder in folders {
        let next = found.as_ref().unwrap_or(top).sub(folder).map_err(text)?;
        found = Some(next.ok_or_else(|| wrong("there is no such file"))?);
    }
    let source = found.as_ref().unwrap_or(top).read(last).map_err(text)?;
    source.map(|source| source.text).ok_or_else(|| wrong("there is no such file"))
}

/// Lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    text.lines().enumerate().filter_map(|(number, line)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let says = words.first().is_some_and(|first| !first.starts_with('#'));
        says.then_some((number + 1, words))
    })
}

/// fstab(5).
fn fstab(text: &str, profile: &mut Profile) -> Result<(), String> {
    profile.mounts.clear();
    for (number, words) in lines(text) {
        let mount = mount(&words).map_err(|why| format!("line {number}: {why}"))?;
        profile.mounts.push(mount);
    }
    Ok(())
}

/// Options that take something away from those inside: to leave one out would give it to them.
const RESTRICTING: [&str; 6] = ["noexec", "hidepid", "uid", "gid", "nr_inodes", "nosymfollow"];

/// `KEY` or `KEY=VALUE`.
fn is_option(word: &str, key: &str) -> bool {
    word.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

fn mount(words: &[&str]) -> Result<Mount, String> {
    let [source, target, kind, rest @ ..] = words else { return Err("it has too few words".to_owned()) };
    let (source, target) = (unescape(source), PathBuf::from(unescape(target)));
    if !target.is_absolute() || target == Path::new("/") {
        return Err(format!("{} is no place for a mount", target.display()));
    }
    let options: Vec<&str> = rest.first().copied().unwrap_or_default().split(',').collect();
    let has = |word: &str| options.contains(&word);
    // Whose terminals are is told in each devpts, and ours are the same group's.
    let restricts = |one: &&str| *kind != "devpts" || !matches!(*one, "uid" | "gid");
    let is_lost =
        |word: &&&str| RESTRICTING.iter().filter(|one| restricts(one)).any(|one| is_option(word, one));
    if let Some(word) = options.iter().find(is_lost) {
        return Err(format!("the option {word} is not supported"));
    }
    let kind = match *kind {
        _ if has("bind") || has("rbind") => bind(&source, &target, has("rbind"))?,
        "proc" => MountKind::Proc,
        "sysfs" => MountKind::Sys,
        "devpts" => MountKind::Devpts,
        "devtmpfs" => MountKind::Dev,
        "tmpfs" => tmpfs(&options)?,
        other => return Err(format!("mounts of type {other} are not supported")),
    };
    Ok(Mount { kind, target, read_only: has("ro"), optional: false })
}

/// What the kernel has for everybody is not taken from the host: each session gets its own.
fn bind(source: &str, target: &Path, recursive: bool) -> Result<MountKind, String> {
    if !source.starts_with('/') {
        return Err(format!("{source} is no path"));
    }
    let of_kernel = match source.trim_end_matches('/') {
        "/proc" => Some(MountKind::Proc),
        "/sys" => Some(MountKind::Sys),
        "/dev" => Some(MountKind::Dev),
        "/dev/pts" => Some(MountKind::Devpts),
        "/dev/shm" | "/run/shm" => Some(MountKind::Tmpfs { size: None, mode: None }),
        _ => None,
    };
    let same = |kind: &MountKind| match kind {
        MountKind::Tmpfs { .. } => target == Path::new("/dev/shm") || target == Path::new("/run/shm"),
        _ => target == Path::new(source.trim_end_matches('/')),
    };
    Ok(of_kernel.filter(same).unwrap_or_else(|| MountKind::Bind { source: source.into(), recursive }))
}

fn tmpfs(options: &[&str]) -> Result<MountKind, String> {
    let value = |key: &str| options.iter().find_map(|option| option.strip_prefix(key)?.strip_prefix('='));
    let size = match value("size") {
        // A share of the memory: what the kernel gives by itself is the half.
        Some(share) if share.ends_with('%') => None,
        Some(text) => Some(bytes(text).ok_or_else(|| format!("size={text} is no size"))?),
        None => None,
    };
    let mode = value("mode").map(|text| {
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .ok_or(format!("mode={text} is no mode"))
    });
    Ok(MountKind::Tmpfs { size, mode: mode.transpose()? })
}

fn bytes(text: &str) -> Option<u64> {
    let (number, factor) = match text.chars().last()?.to_ascii_lowercase() {
        'k' => (text.get(..text.len() - 1)?, 1_u64 << 10),
        'm' => (text.get(..text.len() - 1)?, 1 << 20),
        'g' => (text.get(..text.len() - 1)?, 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Blanks are written as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// Names of databases, a line each. Those that no library lists are files of the host.
fn databases(text: &str, profile: &mut Profile) -> Result<(), String> {
    profile.nss.clear();
    profile.files.clear();
    for (number, words) in lines(text) {
        let name = words.first().copied().unwrap_or_default();
        let known = match name {
            "passwd" => Some(NssDatabase::Passwd),
            "shadow" => Some(NssDatabase::Shadow),
            "group" => Some(NssDatabase::Group),
            "gshadow" => Some(NssDatabase::Gshadow),
            "services" => Some(NssDatabase::Services),
            "protocols" => Some(NssDatabase::Protocols),
            "networks" => Some(NssDatabase::Networks),
            "hosts" => Some(NssDatabase::Hosts),
            _ => None,
        };
        match known {
            Some(database) => profile.nss.push(database),
            None if name.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                let path = Path::new("/etc").join(name);
                profile.files.push(HostFile { source: path.clone(), target: path, optional: true });
            }
            None => return Err(format!("line {number}: {name} is no database")),
        }
    }
    Ok(())
}

/// `SOURCE [TARGET]`, a line each; one that is not absolute is left out, as schroot does.
fn files(text: &str, profile: &mut Profile) -> Result<(), String> {
    for (_, words) in lines(text) {
        let source = PathBuf::from(words.first().copied().unwrap_or_default());
        let target = words.get(1).map_or_else(|| source.clone(), PathBuf::from);
        if source.is_absolute() && target.is_absolute() {
            profile.files.push(HostFile { source, target, optional: false });
        } else {
            let (source, target) = (source.display(), target.display());
            tracing::warn!("not copying file with relative path: {source} -> {target}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Mount>, String> {
        let mut profile = Profile::default();
        fstab(text, &mut profile).map(|()| profile.mounts)
    }

    #[test]
    fn the_lines_of_debians_own_profiles_are_mounts_of_ours() {
        let text = "# fstab\n/proc /proc none rw,bind 0 0\n/sys /sys none rw,bind 0 0\n\
            /dev /dev none rw,bind 0 0\nnone /dev/pts devpts rw,newinstance,ptmxmode=666,mode=620,gid=5 0 0\n\
            tmpfs /dev/shm tmpfs defaults,size=64m,mode=1777 0 0\n/home /home none rw,bind 0 0\n\
            /srv/a\\040b /mnt none ro,rbind 0 0\n";
        let mounts = of(text).unwrap();
        let kinds: Vec<_> = mounts.iter().map(|mount| mount.kind.clone()).collect();
        let bind = |source: &str, recursive| MountKind::Bind { source: source.into(), recursive };
        let shm = MountKind::Tmpfs { size: Some(64 << 20), mode: Some(0o1777) };
        let own = [MountKind::Proc, MountKind::Sys, MountKind::Dev, MountKind::Devpts, shm];
        assert_eq!(kinds, [&own[..], &[bind("/home", false), bind("/srv/a b", true)]].concat());
        assert!(mounts.last().unwrap().read_only && !mounts[0].read_only);
        // Somewhere else the host's is what was meant.
        assert_eq!(of("/dev /hostdev none bind\n").unwrap()[0].kind, bind("/dev", false));
    }

    #[test]
    fn a_line_that_cannot_be_done_is_named() {
        for (line, why) in [
            ("/x", "line 1: it has too few words"),
            ("/x y none bind", "line 1: y is no place for a mount"),
            ("/x / none bind", "line 1: / is no place for a mount"),
            ("x /y none bind", "line 1: x is no path"),
            ("\n/dev/sda1 /mnt ext4 defaults", "line 2: mounts of type ext4 are not supported"),
            ("t /y tmpfs size=x", "line 1: size=x is no size"),
            ("t /y tmpfs mode=9", "line 1: mode=9 is no mode"),
        ] {
            assert_eq!(of(line).unwrap_err(), why, "{line}");
        }
        let mut profile = Profile::default();
        assert_eq!(databases("../x", &mut profile).unwrap_err(), "line 1: ../x is no database");
    }

    #[test]
    fn databases_that_no_library_lists_are_files_and_relative_files_are_left_out() {
        let mut profile = Profile::default();
        databases("passwd\n# x\nethers\n", &mut profile).unwrap();
        files("/etc/resolv.conf\nrelative\n/a /b\n", &mut profile).unwrap();
        assert_eq!(profile.nss, [NssDatabase::Passwd]);
        let files: Vec<_> =
            profile.files.iter().map(|file| (file.target.to_str().unwrap(), file.optional)).collect();
        assert_eq!(files, [("/etc/ethers", true), ("/etc/resolv.conf", false), ("/b", false)]);
    }
}
