fn main() -> std::process::ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    if zchroot::schroot::is_name(&name) { zchroot::schroot::main() } else { zchroot::cli::main() }
}
