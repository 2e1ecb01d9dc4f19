//! Access: principals, the decision table, and the policy, which alone makes a
//! [`grant::Grant`].
//!
//! | room | what it does |
//! | --- | --- |
//! | [`principal`], [`service_account`] | verified callers |
//! | [`operations`], [`decisions`] | every RPC, once, with the decisions that it needs |
//! | [`purpose`] | the three things that a grant can be good for |
//! | [`question`] | everything that a decision may depend on |
//! | [`policy`] | judges a question, and answers with a grant or a refusal |
//! | [`actions`], [`grant`] | the proof that a request was allowed, which every door of the keys asks for |

pub mod actions;
pub mod decisions;
pub mod grant;
pub mod operations;
pub mod policy;
pub mod principal;
pub mod purpose;
pub mod question;
pub mod service_account;
