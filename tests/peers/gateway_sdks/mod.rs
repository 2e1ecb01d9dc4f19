//! Alibaba Cloud's own SDKs, unmodified but for the endpoint that they are told,
//! against the real server's HTTP front door. Each language has its programs in
//! a folder beside this file; the tests here judge the requests that they sent.

pub mod clients;
mod described;
mod front_door;
mod readme;
mod recorder;
mod throttled;
pub mod travel;
