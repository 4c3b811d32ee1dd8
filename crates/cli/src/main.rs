//! The `sterna` binary.

use std::process::ExitCode;

/// The protocol layers make many short-lived small allocations, which this serves from lists of the
/// thread: no worker waits for another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sterna_cli::main()
}
