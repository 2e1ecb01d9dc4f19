//! The decisions of an RPC are the table's to say.
use std::marker::PhantomData;

use keyferry::access::decisions::{DESCRIBE_KEY, Decisions};
use keyferry::access::purpose::Use;

fn main() {
    let _: Decisions<Use> = Decisions {
        rpc: DESCRIBE_KEY.rpc(),
        required: DESCRIBE_KEY.required(),
        purpose: PhantomData,
    };
}
