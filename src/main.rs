//! Hands the arguments to the command line, nothing else.

use keyferry::cli::{Exit, run};

fn main() -> Exit {
    run(std::env::args_os())
}
