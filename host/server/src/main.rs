//! The binary `patchbay`.

/// A webhook is a hundred small allocations, and the system's allocator would take a fifth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    patchbay_server::cli::main()
}
