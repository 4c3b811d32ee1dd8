//! The peer with the allocator of the system: more CPU for each request, less memory for an idle connection.

use std::process::ExitCode;

fn main() -> ExitCode {
    peer_h3_quinn::main()
}
