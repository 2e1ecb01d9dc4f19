//! Service links: variables that Kubernetes puts into a container's environment for
//! each Service of its namespace. Those of a Service named `keyferry`, or
//! `keyferry-…`, begin as ours do.
//!
//! ```text
//! KEYFERRY_SERVICE_HOST=10.0.0.11          KEYFERRY_PORT_7311_TCP=tcp://10.0.0.11:7311
//! KEYFERRY_SERVICE_PORT=7311               KEYFERRY_PORT_7311_TCP_PROTO=tcp
//! KEYFERRY_SERVICE_PORT_GRPC=7311          KEYFERRY_PORT_7311_TCP_PORT=7311
//! KEYFERRY_PORT=tcp://10.0.0.11:7311       KEYFERRY_PORT_7311_TCP_ADDR=10.0.0.11
//! ```

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Whether a variable is one of them; `rest` is its name without `KEYFERRY_`. No
/// field of ours has such a name, and the parts of a field's path are joined by two
/// underscores, which these lack.
pub(super) fn is_service_link(rest: &str, value: &str) -> bool {
    if rest.contains("__") {
        return false;
    }
    // The `_` of the prefix is the first of `_PORT`, where the Service is `keyferry`.
    let rest = format!("_{rest}");
    rest.ends_with("_SERVICE_HOST")
        || rest.ends_with("_SERVICE_PORT")
        || rest.contains("_SERVICE_PORT_")
        || (rest.ends_with("_PORT") && is_url(value))
        || rest.match_indices("_PORT_").any(|(at, _)| is_port(rest.get(at + 6..).unwrap_or("")))
}

/// `tcp://…`: a port alone is a mistake of the operator's, who should hear of it.
fn is_url(value: &str) -> bool {
    value.split_once("://").is_some_and(|(scheme, _)| {
        PROTOCOLS.iter().any(|protocol| protocol.eq_ignore_ascii_case(scheme))
    })
}

/// `7311_TCP`, and what may stand after it.
fn is_port(text: &str) -> bool {
    let mut parts = text.split('_');
    parts.next().is_some_and(|number| number.parse::<u16>().is_ok())
        && parts.next().is_some_and(|protocol| PROTOCOLS.contains(&protocol))
        && matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_are_told_from_fields() {
        for (name, value) in [
            ("SERVICE_HOST", "10.0.0.11"),
            ("SERVICE_PORT", "7311"),
            ("SERVICE_PORT_GRPC", "7311"),
            ("PORT", "tcp://10.0.0.11:7311"),
            ("PORT_7311_TCP", "tcp://10.0.0.11:7311"),
            ("PORT_7311_TCP_PROTO", "tcp"),
            ("PORT_7311_UDP_PORT", "7311"),
            ("PORT_7311_TCP_ADDR", "10.0.0.11"),
            ("GATEWAY_SERVICE_HOST", "10.0.0.11"),
            ("GATEWAY_PORT", "tcp://10.0.0.11:443"),
            ("GATEWAY_PORT_443_TCP_ADDR", "10.0.0.11"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        for (name, value) in [
            ("PORT", "7311"),
            ("PORTS", "tcp://10.0.0.11:7311"),
            ("SERVICE", "x"),
            ("PORT_7311", "x"),
            ("PORT_7311_TLS", "x"),
            ("PORT_7311_TCP_KEY", "x"),
            ("LISTENER__0__PORT", "tcp://10.0.0.11:7311"),
            ("REGION", "tcp://10.0.0.11:7311"),
        ] {
            assert!(!is_service_link(name, value), "{name}");
        }
    }
}
