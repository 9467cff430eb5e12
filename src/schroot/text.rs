//! The texts of `--help` and `--version`.

/// `--help`, for a program called so.
pub(super) fn help(program: &str) -> String {
    format!("Usage:\n  {program}  [OPTION…] [COMMAND] — run command or shell in a chroot\n{HELP}")
}

const HELP: &str = "
Actions:
  -h [ --help ]                   Show help options
  -V [ --version ]                Print version information
  -l [ --list ]                   List available chroots
  -i [ --info ]                   Show information about selected chroots
  --config                        Dump configuration of selected chroots
  --location                      Print location of selected chroots

General options:
  -q [ --quiet ]                  Show less output
  -v [ --verbose ]                Show more output

Chroot selection:
  -c [ --chroot ] arg             Use specified chroot
  -a [ --all ]                    Select all chroots and active sessions
  --all-chroots                   Select all chroots
  --all-sessions                  Select all active sessions
  --all-source-chroots            Select all source chroots
  --exclude-aliases               Do not include aliases

Chroot environment:
  -d [ --directory ] arg          Directory to use
  -s [ --shell ] arg              Shell to use as login shell
  -u [ --user ] arg               Username (default current user)
  -p [ --preserve-environment ]   Preserve user environment
  -o [ --option ] arg             Set option
  --isolate-network               No network but lo

Session actions:
  --automatic-session             Begin, run and end a session automatically 
                                  (default)
  -b [ --begin-session ]          Begin a session; returns a session ID
  --recover-session               Recover an existing session
  -r [ --run-session ]            Run an existing session
  -e [ --end-session ]            End an existing session

Session options:
  -n [ --session-name ] arg       Session name (defaults to an automatically 
                                  generated name)
  -f [ --force ]                  Force operation, even if it fails";

/// `--version`. The first line begins as the real program's does, whose version is the one that is served.
pub(super) const VERSION: &str = concat!(
    "schroot (zchroot ",
    env!("CARGO_PKG_VERSION"),
    ") 1.6.13\n",
    "Serves what schroot 1.6.13 serves, on versioned templates; see zchroot(8).\n",
    "\n",
    "Available chroot types:\n",
    "  BLOCKDEV     Read, not entered yet: ‘block-device’ chroots\n",
    "  BTRFSSNAP    Read, not entered yet: ‘btrfs-snapshot’ chroots\n",
    "  CUSTOM       Read, not supported: ‘custom’ chroots\n",
    "  DIRECTORY    Support for templates in directories; ‘directory’ chroots are read, not entered yet\n",
    "  FILE         Read, not entered yet: ‘file’ chroots\n",
    "  LOOPBACK     Read, not entered yet: ‘loopback’ chroots\n",
    "  LVMSNAP      Read, not supported: ‘lvm-snapshot’ chroots\n",
    "  PLAIN        Read, not entered yet: ‘plain’ chroots\n",
    "  ZFSSNAP      Support for templates on ZFS; ‘zfs-snapshot’ chroots are read, not entered yet",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_that_is_not_hidden_stands_in_the_help() {
        let text = help("schroot");
        for option in super::super::options::OPTIONS {
            let hidden = matches!(option.long, "debug" | "command");
            assert_eq!(text.contains(&format!("--{} ", option.long)), !hidden, "{}", option.long);
        }
    }
}
