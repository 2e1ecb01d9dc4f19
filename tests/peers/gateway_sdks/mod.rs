//! Alibaba Cloud's own SDKs, unmodified but for the endpoint that they are told,
//! against the real server's HTTP front door. What they do is written once for
//! each language, in the folders beside this file; what they sent is judged here.

mod clients;
mod described;
mod front_door;
mod readme;
mod recorder;
mod throttled;
mod travel;
