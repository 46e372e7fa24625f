//! The program under test: `patchbay` with failpoints. A binary of its own, so that the product's is never one of these.

fn main() -> std::process::ExitCode {
    patchbay_server::cli::main()
}
