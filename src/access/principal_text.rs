//! Principals as they are written: in groups of principals, in policies, in commands.

use super::principal::{NoPrincipal, Principal};
use super::service_account::{MalformedAccount, ServiceAccount};

/// A text that names no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPrincipal {
    /// It begins as no kind of principal does.
    #[error(
        "a principal is spiffe://TRUST-DOMAIN/PATH, dns:NAME, cn:NAME, unix:USER-ID, access-key:SERVICE-ACCOUNT or jwt:ISSUER#SUBJECT"
    )]
    Kind,
    /// A name that no certificate of a caller can have.
    #[error("the {0} is not of the permitted form")]
    Name(&'static str),
    /// A user id that is no number.
    #[error("a user id is a number, without zeros before it")]
    UserId,
    /// No service account.
    #[error(transparent)]
    Account(#[from] MalformedAccount),
}

impl From<NoPrincipal> for MalformedPrincipal {
    fn from(why: NoPrincipal) -> Self {
        match why {
            NoPrincipal::Form(name) | NoPrincipal::Several(name) => Self::Name(name),
            NoPrincipal::Malformed | NoPrincipal::NotTaken | NoPrincipal::Absent => Self::Kind,
        }
    }
}

impl Principal {
    /// Reads the text form of a principal, as the log has it.
    pub fn parse(text: &str) -> Result<Self, MalformedPrincipal> {
        if text == "dev" {
            return Ok(Self::dev());
        }
        if text.starts_with("spiffe://") {
            return Ok(Self::from_spiffe_id(text)?);
        }
        match text.split_once(':') {
            Some(("dns", name)) => Ok(Self::from_dns_name(name)?),
            Some(("cn", name)) => Ok(Self::from_common_name(name)?),
            Some(("unix", uid)) => {
                let parsed = uid.parse::<u32>().map_err(|_| MalformedPrincipal::UserId)?;
                let principal = Self::unix(parsed);
                if principal.name() == uid {
                    Ok(principal)
                } else {
                    Err(MalformedPrincipal::UserId)
                }
            }
            Some(("access-key", account)) => {
                Ok(ServiceAccount::parse(account)?.principal().clone())
            }
            Some(("jwt", token)) => {
                let (issuer, subject) = token.split_once('#').ok_or(MalformedPrincipal::Kind)?;
                Ok(Self::jwt_subject(issuer, subject)?)
            }
            _ => Err(MalformedPrincipal::Kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_as_it_is_written() {
        for text in [
            "spiffe://kms.example/ns/pay/sa/api",
            "dns:api.example",
            "cn:Ann Example",
            "unix:0",
            "unix:1000",
            "access-key:billing@corp.example",
            "dev",
            "jwt:https://idp.example/realm#alice",
            "jwt:idp#a#b",
        ] {
            assert_eq!(Principal::parse(text).unwrap().to_string(), text);
        }
        let upper = Principal::parse("dns:API.example").unwrap();
        assert_eq!(upper, Principal::parse("dns:api.example").unwrap());
    }

    #[test]
    fn a_text_that_names_nobody_is_refused() {
        for text in [
            "",
            "billing",
            "spiffe:/a/b",
            "SPIFFE://a/b",
            "spiffe://A/b",
            "spiffe://a/../b",
            "dns:",
            "dns:*.example",
            "cn: a",
            "cn:",
            "unix:",
            "unix:-1",
            "unix:007",
            "unix:+7",
            "unix:4294967296",
            "access-key:",
            "access-key:-a",
            "dev:",
            "jwt:a|b",
            "jwt:#a",
            "jwt:a#",
            "jwt:a b#c",
        ] {
            assert!(Principal::parse(text).is_err(), "{text:?}");
        }
    }
}
