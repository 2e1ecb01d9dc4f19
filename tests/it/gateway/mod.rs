//! The HTTP front door over real sockets.

mod both_faces;
mod bounds;
mod callers;
mod shapes;
mod terraform;
mod tls;
