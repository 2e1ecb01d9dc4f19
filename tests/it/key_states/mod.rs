//! The operations that each state of a CMK permits, cell by cell over gRPC: every RPC, on
//! every kind of key, in every state that a caller can bring a key into; each
//! as a dry run first.

mod calls;
mod cells;
mod faults;
mod table;
