//! The binary `patchbay`.

fn main() -> std::process::ExitCode {
    patchbay_server::cli::main()
}
