//! Names in a policy that nothing can have. A `forbid` that speaks of one forbids nothing,
//! so that a slip of the pen is a fault and not a policy that never matches.

use cedar_policy::EntityUid;

use super::entities::INSTANCE;
use super::groups::Groups;
use super::schema::PRINCIPALS;
use super::vocabulary::Vocabulary;
use crate::access::principal::{Principal, PrincipalKind};
use crate::ids::KeyId;
use crate::limits::ALIAS_NAME_CHARS;

/// Why nothing can be called so, if nothing can.
pub(super) fn fault_of(literal: &EntityUid, words: &Vocabulary, groups: &Groups) -> Option<String> {
    let (type_name, id) = (literal.type_name().to_string(), literal.id().unescaped());
    let why = match type_name.as_str() {
        "Action" if words.is_action(literal) => return None,
        "Action" => "there is no such action: `keyferry policy schema` lists them".to_owned(),
        "Group" if groups.has(id) => return None,
        "Group" => "groups.toml has no such group".to_owned(),
        // A group is called as a subject of the same issuer could be.
        "JwtGroup" if Principal::parse(&format!("jwt:{id}")).is_ok() => return None,
        "JwtGroup" => "a token's group is ISSUER#NAME".to_owned(),
        "Key" if KeyId::parse(id).is_ok() => return None,
        "Key" => "a key's id is a UUID in lower case".to_owned(),
        "Alias" if is_alias(id) => return None,
        "Alias" => "an alias is alias/ and a name".to_owned(),
        "Instance" if id == INSTANCE => return None,
        "Instance" => format!("the one instance is Instance::\"{INSTANCE}\""),
        "EncryptionContext" | "Tags" => "read it from the context".to_owned(),
        _ => fault_of_principal(&type_name, id, literal, words)?,
    };
    Some(format!("{literal}: {why}"))
}

fn fault_of_principal(
    type_name: &str,
    id: &str,
    literal: &EntityUid,
    words: &Vocabulary,
) -> Option<String> {
    let kind = PRINCIPALS.iter().find(|(_, name, _)| *name == type_name).map(|(kind, ..)| kind)?;
    let text = match kind {
        PrincipalKind::Spiffe => id.to_owned(),
        PrincipalKind::Dns => format!("dns:{id}"),
        PrincipalKind::Cn => format!("cn:{id}"),
        PrincipalKind::Unix => format!("unix:{id}"),
        PrincipalKind::AccessKey => format!("access-key:{id}"),
        PrincipalKind::Jwt => format!("jwt:{id}"),
        PrincipalKind::Dev => return None,
    };
    match Principal::parse(&text) {
        Ok(principal) if words.principal_uid(&principal).as_ref() == Some(literal) => None,
        Ok(principal) => Some(format!("no caller has this form of the name: write {principal}")),
        Err(why) => Some(why.to_string()),
    }
}

fn is_alias(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-');
    let name = text.strip_prefix("alias/");
    ALIAS_NAME_CHARS.allows(text.len()) && name.is_some_and(|name| name.bytes().all(fits))
}
