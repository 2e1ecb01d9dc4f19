//! Stands between a client and the server, passes every byte on, and keeps what
//! the client sent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The bytes that each connection has sent so far.
type Sent = Arc<Mutex<Vec<Arc<Mutex<Vec<u8>>>>>>;

/// Listens in front of a server.
pub struct Recorder {
    pub address: String,
    sent: Sent,
}

impl Recorder {
    pub fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sent, server) = (Sent::default(), server.to_owned());
        let keep = Arc::clone(&sent);
        // Ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let kept = Arc::default();
                keep.lock().unwrap().push(Arc::clone(&kept));
                between(client, TcpStream::connect(&server).unwrap(), kept);
            }
        });
        Self { address, sent }
    }

    /// The requests so far, connection by connection.
    pub fn requests(&self) -> Vec<Request> {
        let sent = self.sent.lock().unwrap();
        sent.iter().flat_map(|kept| Request::split(&kept.lock().unwrap())).collect()
    }
}

fn between(client: TcpStream, server: TcpStream, kept: Arc<Mutex<Vec<u8>>>) {
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || pass_on(from, to, |bytes| kept.lock().unwrap().extend(bytes)));
    thread::spawn(move || pass_on(server, client, |_| ()));
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// How long a body in chunks is, up to and with the last chunk, which is empty.
fn chunks(bytes: &[u8]) -> usize {
    let end = bytes.windows(5).position(|five| five == b"0\r\n\r\n").expect("a last chunk");
    assert_eq!(end, 0, "no SDK here sends a body in chunks that has any");
    5
}

/// A request as it was sent.
pub struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn split(mut bytes: &[u8]) -> Vec<Self> {
        let mut requests = Vec::new();
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let (head, rest) = bytes.split_at(end + 4);
            let mut request =
                Self { head: String::from_utf8(head.to_vec()).unwrap(), body: vec![] };
            let length = match request.header("transfer-encoding") {
                Some(_) => chunks(rest),
                None => request.header("content-length").map_or(0, |text| text.parse().unwrap()),
            };
            let (body, rest) = rest.split_at(length);
            request.body = body.to_vec();
            requests.push(request);
            bytes = rest;
        }
        requests
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }

    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }

    fn query(&self) -> &str {
        let target = self.head.split(' ').nth(1).unwrap();
        target.split_once('?').map_or("", |(_, query)| query)
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let body = String::from_utf8_lossy(&self.body);
        let pairs = self.query().split('&').chain(body.split('&'));
        let mut found = pairs.filter_map(|pair| pair.split_once('='));
        found.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    }

    pub fn action(&self) -> String {
        let named = self.header("x-acs-action").map(str::to_owned);
        named.or_else(|| self.parameter("Action")).expect("an action")
    }

    /// The name of what it was signed by.
    pub fn signed_by(&self) -> String {
        let authorization = self.header("authorization").and_then(|text| text.split_once(' '));
        let scheme = authorization.map(|(scheme, _)| scheme.to_owned());
        scheme.or_else(|| self.parameter("SignatureMethod")).expect("a signature")
    }

    /// Sends it again, as it is: the status and the body of the answer.
    pub fn repeat(&self, server: &str) -> (String, String) {
        let mut connection = TcpStream::connect(server).unwrap();
        let alone = self.head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let alone: String = alone
            .split_inclusive("\r\n")
            .filter(|line| !line.eq_ignore_ascii_case("connection: keep-alive\r\n"))
            .collect();
        connection.write_all(alone.as_bytes()).unwrap();
        connection.write_all(&self.body).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }
}
