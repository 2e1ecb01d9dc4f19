//! Access: principals, the decision table, and the policy, which alone makes a
//! [`grant::Grant`].
//!
//! | room | what it does |
//! | --- | --- |
//! | [`principal`], [`principal_text`], [`service_account`], [`token_groups`] | verified callers, and how they are written |
//! | [`operations`], [`decisions`] | every RPC, once, with the decisions that it needs |
//! | [`purpose`] | the three things that a grant can be good for |
//! | [`question`] | everything that a decision may depend on |
//! | [`policy`] | judges a question, and answers with a grant or a refusal |
//! | [`cedar`] | policies that were written: read, validated, and asked |
//! | [`actions`], [`grant`] | the proof that a request was allowed, which every door of the keys asks for |

pub mod actions;
pub mod cedar;
pub mod decisions;
pub mod grant;
pub mod operations;
pub mod policy;
pub mod principal;
pub mod principal_text;
pub mod purpose;
pub mod question;
pub mod service_account;
pub mod token_groups;
