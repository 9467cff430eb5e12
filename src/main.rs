fn main() -> std::process::ExitCode {
    zchroot::main(&std::env::args_os().next().unwrap_or_default())
}
