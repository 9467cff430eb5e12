//! The generated parts of the manual: what clap knows of commands and options, as man(7) macros.
//!
//! A page has regions between `.\" BEGIN GENERATED name` and `.\" END GENERATED`. The region `synopsis` lists
//! all commands, `globals` the options that every command knows, and each other region is named after the
//! command that it describes (`run`, `source begin`). Everything outside of regions is written by hand.
//! Pure: text in, text out.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Arg, Command};

const BEGIN: &str = ".\\\" BEGIN GENERATED ";
const END: &str = ".\\\" END GENERATED";

/// The page with every region written anew.
///
/// # Errors
/// A region is not closed, or is named after no command.
pub fn rewrite(page: &str, root: &Command) -> Result<String> {
    let mut text = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        writeln!(text, "{line}")?;
        let Some(name) = line.strip_prefix(BEGIN) else { continue };
        text += &region(name.trim(), root)?;
        let end = lines.find(|line| line.starts_with(END) || line.starts_with(BEGIN));
        ensure!(end.is_some_and(|line| line.starts_with(END)), "region {name:?} is not closed");
        writeln!(text, "{END}")?;
    }
    Ok(text)
}

/// All commands that do something, as the words that follow the program's name.
#[must_use]
pub fn commands(root: &Command) -> Vec<(String, &Command)> {
    let mut found = Vec::new();
    for command in root.get_subcommands() {
        let below = commands(command);
        if below.is_empty() {
            found.push((command.get_name().to_owned(), command));
        } else {
            let name = command.get_name();
            found.extend(below.into_iter().map(|(rest, command)| (format!("{name} {rest}"), command)));
        }
    }
    found
}

/// The options of a command that are its own: not help, version or a global one.
pub fn own_options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_global_set() && !is_built_in(arg))
}

fn is_built_in(arg: &Arg) -> bool {
    ["help", "version"].contains(&arg.get_id().as_str())
}

fn region(name: &str, root: &Command) -> Result<String> {
    match name {
        "synopsis" => synopsis(root),
        "globals" => {
            let mut text = String::new();
            for arg in root.get_arguments().filter(|arg| !arg.is_positional()) {
                option(&mut text, arg)?;
            }
            Ok(text)
        }
        _ => {
            let all = commands(root);
            let found = all.into_iter().find(|(known, _)| known == name);
            let (_, command) = found.with_context(|| format!("region {name:?} is named after no command"))?;
            described(name, command)
        }
    }
}

fn synopsis(root: &Command) -> Result<String> {
    let mut text = String::new();
    for (number, (name, command)) in commands(root).into_iter().enumerate() {
        if number > 0 {
            writeln!(text, ".br")?;
        }
        writeln!(text, "\\fBzchroot {}\\fR{}", escaped(&name), words(command, "options"))?;
    }
    Ok(text)
}

/// Heading, usage, one sentence, arguments and options.
fn described(name: &str, command: &Command) -> Result<String> {
    let mut text = String::new();
    writeln!(text, ".SS {}", escaped(name))?;
    writeln!(text, "\\fBzchroot {}\\fR{}", escaped(name), words(command, "options"))?;
    let Some(about) = command.get_about() else { bail!("command {name} says nothing of itself") };
    writeln!(text, ".PP\n{}", sentence(&about.to_string()))?;
    for arg in command.get_positionals() {
        writeln!(text, ".TP\n{}", positional(arg))?;
        writeln!(text, "{}", help(arg)?)?;
    }
    for arg in own_options(command) {
        option(&mut text, arg)?;
    }
    writeln!(text, ".PP")?;
    Ok(text)
}

/// What follows the command's name in a usage line.
fn words(command: &Command, options: &str) -> String {
    let mut text = String::new();
    for arg in own_options(command).filter(|arg| arg.is_required_set()) {
        text += &format!(" {}", flag(arg));
    }
    if own_options(command).any(|arg| !arg.is_required_set()) {
        text += &format!(" [\\fI{options}\\fR]");
    }
    for arg in command.get_positionals() {
        let word = positional(arg);
        text += &match (arg.is_last_set(), arg.is_required_set()) {
            (true, _) => format!(" [\\fB\\-\\-\\fR {word}]"),
            (false, true) => format!(" {word}"),
            (false, false) => format!(" [{word}]"),
        };
    }
    text
}

fn positional(arg: &Arg) -> String {
    let name = match arg.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => arg.get_id().as_str().to_uppercase(),
    };
    let many = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
    format!("\\fI{}\\fR{}", escaped(&name), if many { " ..." } else { "" })
}

fn option(text: &mut String, arg: &Arg) -> Result<()> {
    writeln!(text, ".TP\n{}", flags(arg))?;
    writeln!(text, "{}", help(arg)?)?;
    Ok(())
}

/// `-m TEXT`, or `--from SOURCE` where there is no short one.
fn flag(arg: &Arg) -> String {
    let name = match (arg.get_short(), arg.get_long()) {
        (Some(short), _) => format!("-{short}"),
        (None, long) => format!("--{}", long.unwrap_or_default()),
    };
    format!("\\fB{}\\fR{}", escaped(&name), value(arg))
}

/// `-m, --message TEXT`.
fn flags(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> =
        [short, long].into_iter().flatten().map(|name| format!("\\fB{}\\fR", escaped(&name))).collect();
    format!("{}{}", names.join(", "), value(arg))
}

fn value(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some([name, ..]) if arg.get_action().takes_values() => format!(" \\fI{}\\fR", escaped(name)),
        _ => String::new(),
    }
}

fn help(arg: &Arg) -> Result<String> {
    let Some(help) = arg.get_help() else { bail!("{} has no help", arg.get_id()) };
    let mut text = sentence(&help.to_string());
    let values: Vec<String> = match arg.get_action().takes_values() {
        true => arg.get_possible_values().iter().map(|value| escaped(value.get_name())).collect(),
        false => Vec::new(),
    };
    if let Some((last, first)) = values.split_last().filter(|(_, first)| !first.is_empty()) {
        let first: Vec<String> = first.iter().map(|value| format!("\\fB{value}\\fR")).collect();
        write!(text, "\n\\fI{}\\fR is {} or \\fB{last}\\fR.", flag_value(arg), first.join(", "))?;
    }
    Ok(text)
}

fn flag_value(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some([name, ..]) => escaped(name),
        _ => arg.get_id().as_str().to_uppercase(),
    }
}

/// A help text as a sentence; what stands in backquotes is set in bold.
fn sentence(text: &str) -> String {
    let marked: String = escaped(text)
        .split('`')
        .enumerate()
        .map(|(number, part)| if number % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() })
        .collect();
    format!("{marked}.")
}

/// Text that roff shows as it is.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
