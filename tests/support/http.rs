//! A small HTTP/1.1 client that says exactly what it is told to, and a signer of
//! requests as the SDKs sign them.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// An access key, to sign with.
#[derive(Clone)]
pub struct Signer {
    pub access_key_id: String,
    pub secret: String,
    /// The version of the API that it asks for.
    pub version: &'static str,
}

/// RFC 3986: unreserved characters stay.
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            _ => write!(out, "%{byte:02X}").unwrap(),
        }
    }
    out
}

/// `name=value` joined by `&`, in order of names.
pub fn query(parameters: &[(String, String)]) -> String {
    let mut sorted = parameters.to_vec();
    sorted.sort();
    let pairs = sorted.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

pub fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn nonce() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    base16ct::lower::encode_string(bytes.as_ref())
}

impl Signer {
    /// All parameters of a request signed by version 1, its action among them.
    pub fn v1(
        &self,
        method: &str,
        action: &str,
        own: &[(String, String)],
    ) -> Vec<(String, String)> {
        let mut all = own.to_vec();
        all.extend(self.of_every_v1(action));
        all.extend(owned(&[("SignatureType", ""), ("RegionId", "local")]));
        all.push(self.v1_signature(method, &all));
        all
    }

    /// What every request signed by version 1 says, but for its signature.
    fn of_every_v1(&self, action: &str) -> Vec<(String, String)> {
        owned(&[
            ("Action", action),
            ("Version", self.version),
            ("AccessKeyId", &self.access_key_id),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce()),
            ("Timestamp", &now()),
        ])
    }

    /// The parameter that signs all others.
    fn v1_signature(&self, method: &str, all: &[(String, String)]) -> (String, String) {
        let to_sign = format!("{method}&%2F&{}", encoded(&query(all)));
        let key = format!("{}&", self.secret);
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(to_sign.as_bytes());
        ("Signature".to_owned(), STANDARD.encode(mac.finalize().into_bytes()))
    }

    /// The headers of a request signed by version 3.
    pub fn v3(&self, asked: &V3<'_>) -> Vec<(String, String)> {
        let digest = hex(Sha256::digest(asked.body));
        let mut headers = vec![
            ("host".to_owned(), asked.host.to_owned()),
            ("x-acs-action".to_owned(), asked.action.to_owned()),
            ("x-acs-content-sha256".to_owned(), digest.clone()),
            ("x-acs-date".to_owned(), now()),
            ("x-acs-signature-nonce".to_owned(), nonce()),
            ("x-acs-version".to_owned(), self.version.to_owned()),
        ];
        if let Some(content_type) = asked.content_type {
            headers.push(("content-type".to_owned(), content_type.to_owned()));
        }
        headers.sort();
        let mut lines = String::new();
        for (name, value) in &headers {
            writeln!(lines, "{name}:{value}").unwrap();
        }
        let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{digest}",
            asked.method, asked.path, asked.query
        );
        let to_sign = format!("ACS3-HMAC-SHA256\n{}", hex(Sha256::digest(canonical)));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(to_sign.as_bytes());
        let signature = hex(mac.finalize().into_bytes());
        let authorization = format!(
            "ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}",
            self.access_key_id
        );
        headers.push(("authorization".to_owned(), authorization));
        headers
    }
}

/// A request to be signed by version 3.
#[derive(Clone, Copy)]
pub struct V3<'a> {
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub action: &'a str,
    /// In order of names.
    pub query: &'a str,
    pub content_type: Option<&'a str>,
    pub body: &'a [u8],
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The code of a refusal.
    pub fn code(&self) -> String {
        self.json()["Code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A transport of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection.
pub struct Http {
    pub stream: Box<dyn Stream>,
    host: String,
    read: Vec<u8>,
}

/// A bound on whatever a test waits for.
const SOON: Duration = Duration::from_secs(20);

impl Http {
    pub async fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), address)
    }

    pub fn over(stream: impl Stream + 'static, host: &str) -> Self {
        Self { stream: Box::new(stream), host: host.to_owned(), read: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next answer; `None` where the connection ends before one.
    pub async fn answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(SOON, self.read_answer()).await.expect("an answer in time")
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
        while self.read.len() < length {
            self.more().await?;
        }
        let body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        Some(Answer { status, headers, body })
    }

    async fn more(&mut self) -> Option<()> {
        let mut part = vec![0; 16 * 1024];
        match self.stream.read(&mut part).await {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.read.extend_from_slice(&part[..count]);
                Some(())
            }
        }
    }

    /// The end of the connection, with nothing before it.
    pub async fn ended(&mut self) -> bool {
        tokio::time::timeout(SOON, self.more()).await.expect("an end in time").is_none()
            && self.read.is_empty()
    }

    pub async fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: {}\r\n\r\n", self.host)).await;
        self.answer().await.unwrap()
    }

    /// Signed by version 3, everything in the query, as the SDKs of today do.
    pub async fn v3(&mut self, signer: &Signer, action: &str, own: &[(String, String)]) -> Answer {
        let query = query(own);
        let host = self.host.clone();
        let asked = V3 {
            method: "POST",
            host: &host,
            path: "/",
            action,
            query: &query,
            content_type: None,
            body: b"",
        };
        let headers = signer.v3(&asked);
        self.request(&asked, &headers).await
    }

    /// Sends the request with these headers.
    pub async fn request(&mut self, asked: &V3<'_>, headers: &[(String, String)]) -> Answer {
        let target = if asked.query.is_empty() {
            asked.path.to_owned()
        } else {
            format!("{}?{}", asked.path, asked.query)
        };
        let mut head = format!("{} {target} HTTP/1.1\r\n", asked.method);
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "content-length: {}\r\n\r\n", asked.body.len()).unwrap();
        self.send(head).await;
        self.send(asked.body).await;
        self.answer().await.unwrap()
    }

    /// Signed by version 1 in the query of a GET, as the SDKs of old do.
    pub async fn v1(&mut self, signer: &Signer, action: &str, own: &[(String, String)]) -> Answer {
        let query = query(&signer.v1("GET", action, own));
        self.get(&format!("/?{query}")).await
    }

    /// Signed by version 1, everything in the form.
    pub async fn v1_form(
        &mut self,
        signer: &Signer,
        action: &str,
        own: &[(String, String)],
    ) -> Answer {
        self.form("/", &query(&signer.v1("POST", action, own))).await
    }

    /// Signed by version 1: the action's own parameters in the form, those of
    /// every request in the query, as Tea's RPC client for Go does.
    pub async fn v1_split(
        &mut self,
        signer: &Signer,
        action: &str,
        own: &[(String, String)],
    ) -> Answer {
        let mut asked = signer.of_every_v1(action);
        asked.extend(owned(&[("Format", "json")]));
        asked.push(signer.v1_signature("POST", &[&asked[..], own].concat()));
        self.form(&format!("/?{}", query(&asked)), &query(own)).await
    }

    async fn form(&mut self, target: &str, form: &str) -> Answer {
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            self.host,
            form.len()
        );
        self.send(head).await;
        self.answer().await.unwrap()
    }
}
