//! The binary: an allocator and the command line. Decides nothing.

use std::process::ExitCode;

/// Streams allocate many short-lived buffers of every size: measured, and memory goes back after a burst.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate::cli::main()
}
