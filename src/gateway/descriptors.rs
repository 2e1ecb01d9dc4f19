//! The descriptors of the contract, which say what every message has.

use prost_reflect::{EnumDescriptor, MethodDescriptor};

use crate::error::{Error, Result};
use crate::proto::pool;

/// The package of the contract.
const PACKAGE: &str = "keyferry.v1";

/// The RPC of a `Service/Method`.
pub(super) fn rpc(name: &str) -> Result<MethodDescriptor> {
    let (service, method) = name.split_once('/').unwrap_or_default();
    pool()
        .get_service_by_name(&format!("{PACKAGE}.{service}"))
        .and_then(|service| service.methods().find(|known| known.name() == method))
        .ok_or_else(|| Error::internal(format!("the contract has no RPC {name}")))
}

/// What the values of an enum begin with: protobuf has them bear its name, the
/// API has them bare.
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
