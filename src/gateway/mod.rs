//! The HTTP front door: the RPC style of the Alibaba Cloud KMS API (2016-01-20)
//! over the same service functions as gRPC.
//!
//! ```text
//! mod.rs             one request: read → verify → act → answer
//! body.rs            reads the body, within limits
//! parameters.rs      decodes query and form · parameter_tree.rs  lists and maps in them
//! signature/         verifies the signature · nonces.rs  refuses a repeated one
//! actions.rs         the table from action to service function
//! request.rs         parameters → message · reply.rs  message → JSON or XML
//! failure.rs         the reply to a refused request
//! openapi.rs         the description for programs
//! descriptors.rs, names.rs  the contract's descriptors, and the API's names
//! ```
//!
//! No file here knows an operation: the contract's descriptors say what each
//! takes and answers, and the services decide what is allowed. `body.rs` alone
//! does IO.
//!
//! Unknown parameters are ignored, as by the API: the SDKs send some of their own
//! (`RegionId`), and newer ones more.

pub mod actions;
mod body;
mod descriptors;
mod failure;
mod names;
pub mod nonces;
mod openapi;
mod parameter_tree;
pub mod parameters;
mod reply;
mod request;
pub mod signature;

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use prost::bytes::Bytes;

use crate::access::principal::Principal;
use crate::config::GatewayConfig;
use crate::crypto::secret::{AccessKeySecret, Reveal};
use crate::error::{Error, Result, Rule};
use crate::keys::access_keys::AccessKey;
use crate::keys::access_keys::used_nonces::SpentNonce;
use crate::service::Services;
use crate::service::caller::Caller;
use actions::ApiAction;
use nonces::Nonces;
use parameter_tree::ParameterTree;
use parameters::Parameters;
pub use reply::Format;
use signature::{Claim, Signed, Verified};

/// The version of the API.
pub const VERSION: &str = "2016-01-20";

/// The path of the description for programs.
pub const DESCRIPTION: &str = "/openapi.json";

/// The path of the public keys that verify receipts.
pub const RECEIPT_KEYS: &str = "/receipt-keys";

/// The root element of a reply in XML.
const ROOT: &str = "KMS";

/// The HTTP front door. Clones share it.
#[derive(Clone)]
pub struct Gateway {
    services: Services,
    config: GatewayConfig,
    nonces: Arc<Nonces>,
    /// Stands in for the secret of an access key that does not exist.
    decoy: Arc<AccessKeySecret>,
}

/// The facts of a request that are known so far; every reply needs them, a refusal too.
pub struct Seen {
    request_id: String,
    host: String,
    format: Format,
    action: Option<&'static ApiAction>,
}

/// A request whose signature was verified.
pub struct Call {
    key: Arc<AccessKey>,
    verified: Verified,
    parameters: Parameters,
    /// The action that the path names, where it names one.
    in_path: Option<&'static ApiAction>,
}

impl Gateway {
    /// The front door to these services.
    pub fn new(services: Services, config: GatewayConfig) -> Result<Self> {
        let decoy = AccessKeySecret::generate()
            .map_err(|unavailable| Error::internal(unavailable.to_string()))?;
        Ok(Self { services, config, nonces: Arc::default(), decoy: Arc::new(decoy) })
    }

    /// Reads a request, whole by `read_by`, and verifies its signature.
    pub async fn authenticate<B>(
        &self,
        request: Request<B>,
        read_by: Instant,
        seen: &mut Seen,
    ) -> Result<Call>
    where
        B: http_body::Body,
    {
        let (mut head, body) = request.into_parts();
        let in_path = action_in_path(&head)?;
        let body = body::read(body, read_by).await?;
        let parameters = Parameters::read(head.uri.query(), form(&head.headers, &body)?)?;
        seen.format = parameters.get("Format").and_then(Format::parse).unwrap_or_default();
        put_host(&mut head);
        let signed = Signed {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            headers: &head.headers,
            body: &body,
            parameters: &parameters,
        };
        let (key, verified) = self.verify(&signed).await?;
        seen.action = ApiAction::named(verified.action());
        Ok(Call { key, verified, parameters, in_path })
    }

    async fn verify(&self, signed: &Signed<'_>) -> Result<(Arc<AccessKey>, Verified)> {
        let claim = Claim::read(signed)?;
        claim.check_scheme(self.config.signature_v1)?;
        claim.check_time(self.services.clock().now())?;
        let found = self.services.find_access_key(claim.access_key_id()).await?;
        // An unknown access key takes as much computation as a known one, so that
        // timing does not tell them apart.
        let secret = found.as_ref().map_or(&*self.decoy, |key| &key.secret);
        let verified = claim.verify(signed, secret.reveal(Reveal::ToVerify));
        let key = found.ok_or_else(no_such_access_key)?;
        let verified = verified?;
        // The state is told to a holder of the secret alone.
        if !key.is_enabled() {
            return Err(Rule::AccessKeyDisabled.into());
        }
        let elapsed = self.services.clock().elapsed();
        self.nonces.use_once(verified.access_key_id(), verified.nonce(), elapsed)?;
        Ok((key, verified))
    }

    /// Carries out a request.
    pub async fn act(
        &self,
        call: Call,
        mut caller: Caller,
        seen: &Seen,
    ) -> Result<Response<Bytes>> {
        let action = call.action(seen)?;
        if action.changes() && !action.is_dry_run(&call.parameters) {
            let spent = call.spent_nonce(action.takes_away);
            caller.begun = Some(Arc::new(self.services.spend_nonce(&spent).await?));
        }
        let parameters = ParameterTree::of(call.parameters.iter());
        let reply = (action.act)(&self.services, &caller, &parameters);
        drop(parameters);
        drop(call);
        let reply = reply.await?;
        Ok(response(StatusCode::OK, seen, seen.format.write(ROOT, &reply)?))
    }

    /// The reply to a request that was refused.
    #[must_use]
    pub fn refusal(&self, error: &Error, seen: &Seen) -> Response<Bytes> {
        failure::response(error, seen)
    }

    /// The description for programs. It is public.
    #[must_use]
    pub fn description(&self) -> Response<Bytes> {
        let mut response = Response::new(openapi::document());
        let content_type = HeaderValue::from_static(Format::Json.content_type());
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }

    /// The public keys that verify receipts, for anybody.
    pub async fn receipt_keys(&self) -> Result<Response<Bytes>> {
        let mut response = Response::new(self.services.published_receipt_keys().await?.into());
        let content_type = HeaderValue::from_static("application/jwk-set+json");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Ok(response)
    }
}

impl Seen {
    /// From the head of a request.
    pub fn of<B>(request: &Request<B>, request_id: &str) -> Self {
        Self {
            request_id: request_id.to_owned(),
            host: host(request).unwrap_or_default().to_owned(),
            format: Format::default(),
            action: None,
        }
    }

    /// The action, once the signature is verified, and if there is such an action.
    #[must_use]
    pub fn action(&self) -> Option<&'static str> {
        self.action.map(|action| action.name)
    }

    /// Whether that action takes a permission away.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        self.action.is_some_and(|action| action.takes_away)
    }
}

impl Call {
    /// The caller.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        self.key.principal()
    }

    fn spent_nonce(&self, takes_away: bool) -> SpentNonce<'_> {
        SpentNonce {
            access_key_id: &self.key.id,
            nonce: self.verified.nonce(),
            past_at: self.verified.past_at(),
            takes_away,
        }
    }

    /// The action, of a version and in a format that are served.
    fn action(&self, seen: &Seen) -> Result<&'static ApiAction> {
        match self.verified.version() {
            Some(VERSION) => {}
            Some(_) => return Err(Rule::UnknownApiVersion.into()),
            None => return Err(Error::missing("Version")),
        }
        let action = seen.action.ok_or(Rule::UnknownOperation)?;
        // A log of paths must tell the truth.
        if self.in_path.is_some_and(|in_path| in_path.name != action.name) {
            return Err(Error::invalid("Action", "the path names another one"));
        }
        match self.parameters.get("Format") {
            Some(text) if !text.is_empty() && Format::parse(text).is_none() => {
                Err(Error::invalid("Format", "it must be JSON or XML"))
            }
            _ => Ok(action),
        }
    }
}

/// Requests go to `/`. `/Encrypt` is accepted for that action, as OpenAPI tells
/// operations apart by their paths.
fn action_in_path(head: &Parts) -> Result<Option<&'static ApiAction>> {
    let in_path = match head.uri.path() {
        "/" => None,
        path => {
            let named = path.strip_prefix('/').and_then(ApiAction::named);
            Some(named.ok_or_else(|| Error::from(Rule::UnknownOperation))?)
        }
    };
    if head.method != Method::GET && head.method != Method::POST {
        return Err(Rule::UnsupportedHttpMethod.into());
    }
    Ok(in_path)
}

/// The body, which is a form. Parameters in any other would be passed over.
fn form<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Option<&'a [u8]>> {
    const FORM: &str = "application/x-www-form-urlencoded";
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|text| text.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(FORM) {
        return Ok(Some(body));
    }
    // An empty object says nothing: some clients send it with no parameters.
    match body.trim_ascii() {
        b"" | b"{}" => Ok(None),
        text if media_type.to_ascii_lowercase().contains("json") || text.starts_with(b"{") => {
            Err(not_a_form("The body of the request is JSON"))
        }
        _ => Err(not_a_form("The body of the request is not of the content type of a form")),
    }
}

fn not_a_form(found: &str) -> Error {
    let text = format!(
        "{found}: parameters are read from the query, or from a body of application/x-www-form-urlencoded."
    );
    Error::from(Rule::UnreadableParameters).saying(text)
}

/// Adds the header `host`, which signatures cover, where HTTP/2 sent `:authority`.
fn put_host(head: &mut Parts) {
    let authority = head.uri.authority().and_then(|name| HeaderValue::from_str(name.as_str()).ok());
    if let Some(authority) = authority {
        head.headers.entry(header::HOST).or_insert(authority);
    }
}

/// The host that a request was sent to, where it has the form of one.
fn host<B>(request: &Request<B>) -> Option<&str> {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = header.or_else(|| request.uri().authority().map(http::uri::Authority::as_str))?;
    let fits =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (host.len() <= 255 && host.bytes().all(fits)).then_some(host)
}

fn no_such_access_key() -> Error {
    Error::from(Rule::NotAuthenticated).saying("The specified access key is not found.")
}

/// The headers that bear the request id: Keyferry's, and the one that the SDKs
/// read.
const REQUEST_IDS: [HeaderName; 2] =
    [HeaderName::from_static("x-request-id"), HeaderName::from_static("x-acs-request-id")];

/// A reply with its headers.
fn response(status: StatusCode, seen: &Seen, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(seen.format.content_type());
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&seen.request_id) {
        headers.extend(REQUEST_IDS.map(|name| (name, id.clone())));
    }
    response
}
