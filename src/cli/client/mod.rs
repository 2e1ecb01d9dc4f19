//! The client's side of the contract: one connection for one command.
//!
//! ```text
//! call.rs             the arguments of a call, and the call itself
//! session.rs          a connection, and what its calls come to
//! connection.rs       a stream to the endpoint, handed to tonic
//! connection_args.rs  options, environment and profile become one connection's settings
//! profile.rs          a file with the endpoint and the credentials for it
//! setting.rs          a setting and its source
//! tls.rs              its TLS
//! endpoint.rs         where the server is
//! recording_stream.rs a stream that remembers how it broke
//! call_failure.rs     why a call failed
//! advice.rs           what to do about a refusal
//! pages.rs            lists, page after page
//! ```

mod advice;
pub mod call;
mod call_failure;
mod causes;
pub mod connection;
mod connection_args;
pub mod endpoint;
pub mod pages;
pub mod profile;
mod recording_stream;
pub mod session;
mod setting;
mod tls;
