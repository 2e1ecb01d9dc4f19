//! The services of the contract: parse, authorise, act, reply.

pub mod caller;
