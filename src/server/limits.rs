//! The bounds of the server's memory, work and time.

use std::time::Duration;

use crate::limits::{DEADLINE_SECONDS, STREAM_IDLE_SECONDS};
use crate::rate::Rate;

/// Of one principal, for each thread of the machine: three operations with private
/// keys, which keeps all threads at work while two principals take turns.
const WORK_OF_PRINCIPAL_PER_THREAD: usize = 128;

/// A limit on everything. The defaults are the contract's, where it has one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once on one listener; further ones wait in the kernel's
    /// queue.
    pub connections: usize,
    /// The same, of one IPv4 address or the /64 of an IPv6 address, on all listeners.
    pub connections_of_network: usize,
    /// Connections, on all listeners, over which nobody was authenticated yet.
    pub strangers: usize,
    /// The same, of one address.
    pub strangers_of_network: usize,
    /// How long such a connection may begin no request.
    pub stranger_idle: Duration,
    /// How long such a connection may last.
    pub stranger_age: Duration,
    /// How long any connection lasts, give or take a tenth, before its peer is asked
    /// to connect anew.
    pub connection_age: Duration,
    /// Requests open at once on one connection.
    pub streams_per_connection: u32,
    /// The same, where the connection itself does not show who its peer is.
    pub streams_of_stranger: u32,
    /// Requests that services work on at once; further ones are told to come
    /// back. Health checks are not counted: a busy server is a healthy one.
    pub in_flight: usize,
    /// The same, of one principal.
    pub in_flight_of_principal: usize,
    /// Cryptographic work that is done at once, in units of an RSA wrap. More of it
    /// waits.
    pub work: usize,
    /// The same, of one principal.
    pub work_of_principal: usize,
    /// What one principal may ask for in time, in the same units. None: no bound.
    pub quota_of_principal: Option<Rate>,
    /// The same, of all principals together.
    pub quota: Option<Rate>,
    /// Requests over HTTP that are read at once, before their callers are known;
    /// for a further one,
    /// the one that has been read for longest is given up.
    pub unverified: usize,
    /// The same, from one address.
    pub unverified_of_network: usize,
    /// The same, on one connection.
    pub unverified_of_connection: usize,
    /// Bytes of answers that one connection's peer has not taken, of those that have
    /// 1 KiB or more.
    pub undelivered_bytes_of_connection: usize,
    /// The same, of all connections.
    pub undelivered_bytes: usize,
    /// All header fields of a request together.
    pub header_list_bytes: u32,
    /// The target of a request over HTTP, on top of that: the SDKs put everything
    /// into the query.
    pub target_bytes: u32,
    /// From accepting a connection to the end of its TLS handshake and of the bytes
    /// that show which protocol it speaks.
    pub handshake: Duration,
    /// Over HTTP/1.1, from one request to the end of the next one's head. How long a
    /// peer may take nothing of what is written.
    pub idle: Duration,
    /// From the end of a request's head to that of its body.
    pub body: Duration,
    /// The cap on every request's deadline.
    pub deadline: Duration,
    /// How long the peer of a stream of items may send nothing, or read nothing.
    pub stream_idle: Duration,
    /// From the signal to stop until the connections that are left are cut.
    pub drain: Duration,
    /// The pause before an idle HTTP/2 connection is sent a ping.
    pub keepalive_interval: Duration,
    /// The wait for the answer to a ping.
    pub keepalive_timeout: Duration,
    /// The pause between two reads of the certificates' files.
    pub reload_interval: Duration,
    /// The pause between two health probes, and the time limit of one.
    pub probe_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let work_of_principal = WORK_OF_PRINCIPAL_PER_THREAD * threads;
        Self {
            connections: 4096,
            connections_of_network: 1024,
            strangers: 1024,
            strangers_of_network: 256,
            stranger_idle: Duration::from_secs(30),
            stranger_age: Duration::from_mins(2),
            connection_age: Duration::from_hours(1),
            streams_per_connection: 256,
            streams_of_stranger: 16,
            in_flight: 1024,
            in_flight_of_principal: 512,
            work: 2 * work_of_principal,
            work_of_principal,
            quota_of_principal: None,
            quota: None,
            unverified: 1024,
            unverified_of_network: 256,
            unverified_of_connection: 16,
            undelivered_bytes_of_connection: 8 << 20,
            undelivered_bytes: 64 << 20,
            header_list_bytes: 16 * 1024,
            target_bytes: 64 * 1024,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            body: Duration::from_secs(10),
            deadline: Duration::from_secs(DEADLINE_SECONDS.max as u64),
            stream_idle: Duration::from_secs(STREAM_IDLE_SECONDS.max as u64),
            drain: Duration::from_secs(30),
            keepalive_interval: Duration::from_mins(1),
            keepalive_timeout: Duration::from_secs(20),
            reload_interval: Duration::from_secs(2),
            probe_interval: Duration::from_secs(5),
        }
    }
}
