//! The purpose of an RPC's decisions is the table's to say.
use keyferry::access::decisions::{DESCRIBE_KEY, Decisions};
use keyferry::access::purpose::{Purpose, Use};

#[derive(Clone, Copy, Debug)]
enum Anything {}

impl Purpose for Anything {
    const NAME: &'static str = "Anything";
}

fn main() {
    let _: Decisions<Use> = DESCRIBE_KEY;
}
