//! Completions of the command line for shells, made from clap's own knowledge of it. They are static: no
//! shell runs the program, which is setuid root, to complete a word.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

/// Where each completion is installed, and its text.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    [
        (Shell::Bash, "usr/share/bash-completion/completions/zchroot"),
        (Shell::Zsh, "usr/share/zsh/vendor-completions/_zchroot"),
        (Shell::Fish, "usr/share/fish/vendor_completions.d/zchroot.fish"),
    ]
    .map(|(shell, path)| {
        let mut text = Vec::new();
        generate(shell, &mut zchroot::cli::Cli::command(), "zchroot", &mut text);
        (path, text)
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_knows_the_commands_and_their_options() {
        for (path, text) in all() {
            let text = String::from_utf8(text).unwrap();
            for word in ["update", "source", "dry-run", "preserve-environment"] {
                assert!(text.contains(word), "{path}: {word}");
            }
        }
    }
}
