//! Policies, written in Cedar.
//!
//! ```text
//! facts.rs        what a policy may read in the context of a decision
//! schema.rs       the Cedar schema, made of the decision table and the facts
//! vocabulary.rs   the schema, ready for use: types, actions, the validator
//! entities.rs     principals, keys, accounts and contexts as Cedar's entities
//! groups.rs       the groups of principals
//! source.rs       the texts of policies and groups, and where in them a fault is
//! literals.rs     names in a policy that nothing can have
//! reading.rs      policies, parsed and judged by the schema
//! policy_set.rs   policies that belong together, and decide
//! slices.rs       those that can matter for a principal and an action
//! decided.rs      decisions that need not be made again
//! scopes.rs       callers, actions and keys that a policy may be about
//! conditions.rs   the conditions of a policy, and what they go by
//! account_power.rs  whether an account may do more than a caller
//! ways_round.rs   permissions that together give more than each says
//! paths.rs        the policies on the ways to the plaintext under a key
//! explanation.rs  why a decision is as it is
//! ```
//!
//! Cedar has two traps that fail open, and both are closed here. A `forbid` on a group
//! of actions matches nothing unless the entities hold the action with its groups
//! (`slices.rs` puts them there). A policy whose evaluation fails is skipped: any such
//! error is a deny, and an alarm (`policy_set.rs`).

mod account_power;
mod conditions;
mod decided;
mod entities;
pub mod explanation;
mod facts;
mod groups;
mod literals;
pub mod paths;
pub mod policy_set;
mod reading;
pub mod schema;
mod scopes;
mod slices;
pub mod source;
#[cfg(test)]
mod tests;
mod vocabulary;
mod ways_round;
