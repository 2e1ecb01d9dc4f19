//! The descriptors of the contract, which say what every message has.

use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{EnumDescriptor, MethodDescriptor};

use crate::error::{Error, Result};
use crate::proto::pool;

/// The package of the contract.
const PACKAGE: &str = "keyferry.v1";

/// The RPC named `Service/Method`.
pub(super) fn rpc(name: &str) -> Result<MethodDescriptor> {
    let (service, method) = name.split_once('/').unwrap_or_default();
    pool()
        .get_service_by_name(&format!("{PACKAGE}.{service}"))
        .and_then(|service| service.methods().find(|known| known.name() == method))
        .ok_or_else(|| Error::internal(format!("the contract has no RPC {name}")))
}

/// Whether an RPC only reads or uses what is stored.
pub(super) fn has_no_side_effects(rpc: &MethodDescriptor) -> bool {
    let options = rpc.method_descriptor_proto().options.as_ref();
    options.is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects)
}

/// The prefix of an enum's values: protobuf style repeats the name of the enum,
/// the API leaves it out.
pub(super) fn value_prefix(named: &EnumDescriptor) -> String {
    let zero = named.default_value();
    zero.name().strip_suffix("UNSPECIFIED").unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_s_descriptors_are_there() {
        assert!(rpc("Kms/NoSuchRpc").is_err());
        assert_eq!(rpc("Kms/Encrypt").unwrap().output().name(), "EncryptResponse");
        let named = pool().get_enum_by_name("keyferry.v1.WrappingAlgorithm").unwrap();
        assert_eq!(value_prefix(&named), "WRAPPING_ALGORITHM_");
    }
}
