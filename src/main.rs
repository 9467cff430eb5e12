fn main() -> std::process::ExitCode {
    zchroot::cli::main()
}
