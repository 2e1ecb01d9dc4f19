//! The table of actions: the service function of each.
//!
//! An action has the name of its RPC. All are carried out alike: parameters →
//! request message → service function → response message → reply.

use std::pin::Pin;

use super::descriptors;
use super::parameter_tree::ParameterTree;
use super::parameters::Parameters;
use super::reply::ReplyMessage;
use super::request;
use crate::access::decisions;
use crate::access::operations::operations;
use crate::error::Result;
use crate::service::Services;
use crate::service::caller::Caller;

/// The reply, once the service function has answered.
pub(super) type ReplyFuture<'a> = Pin<Box<dyn Future<Output = Result<ReplyMessage>> + Send + 'a>>;

/// An action of the API.
pub struct ApiAction {
    /// Its name in requests.
    pub name: &'static str,
    /// The RPC, as `Service/Method`.
    pub rpc: &'static str,
    /// Whether it takes a permission away.
    pub takes_away: bool,
    pub(super) act: for<'a> fn(&'a Services, &'a Caller, &ParameterTree<'_>) -> ReplyFuture<'a>,
}

impl ApiAction {
    /// Whether it changes what is stored: the contract marks those that do not
    /// as free of side effects.
    #[must_use]
    pub fn changes(&self) -> bool {
        !descriptors::rpc(self.rpc).is_ok_and(|rpc| descriptors::has_no_side_effects(&rpc))
    }

    /// Whether a request asks for a dry run, which changes nothing.
    pub(super) fn is_dry_run(&self, parameters: &Parameters) -> bool {
        let has_dry_run = descriptors::rpc(self.rpc)
            .is_ok_and(|rpc| rpc.input().get_field_by_name("dry_run").is_some());
        has_dry_run && parameters.get("DryRun").and_then(request::truth) == Some(true)
    }

    /// The action of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|action| action.name == name)
    }
}

/// The table: the operations of the list that are marked `HTTP`.
macro_rules! actions {
    ($($service:ident {
        $($rpc:ident $([$http:ident])?: $purpose:ident = $($action:ident on $resource:ident)&+;)*
    } streams $streams:tt)+) => {
        /// The whole table.
        pub const TABLE: &[ApiAction] = &[$($($(actions!(@$http $service $rpc),)?)*)+];
    };
    (@HTTP $service:ident $rpc:ident) => {
        ApiAction {
            name: stringify!($rpc),
            rpc: concat!(stringify!($service), "/", stringify!($rpc)),
            takes_away: pastey::paste!(decisions::[<$rpc:snake:upper>]).takes_away(),
            act: |services, caller, parameters| {
                let rpc = concat!(stringify!($service), "/", stringify!($rpc));
                // Parsed outside of the future, so that the parameters are wiped
                // before the work begins.
                let parsed = descriptors::rpc(rpc)
                    .and_then(|rpc| Ok((request::read(&rpc.input(), parameters)?, rpc.output())));
                Box::pin(async move {
                    let (request, output) = parsed?;
                    let response = pastey::paste!(services.[<$rpc:snake>](caller, request)).await?;
                    ReplyMessage::of(output, &response)
                })
            },
        }
    };
}

operations!(actions);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_contract_says_what_changes() {
        let still: Vec<_> =
            TABLE.iter().filter(|action| !action.changes()).map(|action| action.name).collect();
        assert_eq!(
            still,
            [
                "GenerateDataKeyWithoutPlaintext",
                "ExportDataKey",
                "GenerateDataKey",
                "GenerateAndExportDataKey",
                "Encrypt",
                "Decrypt",
                "ReEncrypt",
                "GetPublicKey",
                "AsymmetricEncrypt",
                "AsymmetricDecrypt",
                "AsymmetricSign",
                "AsymmetricVerify",
                "DescribeKey",
                "ListKeys",
                "DescribeKeyVersion",
                "ListKeyVersions",
                "ListAliases",
                "ListAliasesByKeyId",
                "ListResourceTags",
                "ListTagResources",
                "DescribeRegions",
            ]
        );
    }

    /// RPCs that the API does not have: a stream, and the management of access
    /// keys.
    fn is_ours_alone(rpc: &str) -> bool {
        rpc == "Kms/ExportDataKeys" || rpc.starts_with("AccessManagement/")
    }

    #[test]
    fn every_rpc_has_a_row_or_is_ours_alone() {
        let services = crate::proto::pool()
            .services()
            .filter(|service| service.package_name() == "keyferry.v1");
        let rpcs = services.flat_map(|service| {
            let rpc = |method: prost_reflect::MethodDescriptor| {
                format!("{}/{}", service.name(), method.name())
            };
            service.methods().map(rpc).collect::<Vec<_>>()
        });
        let offered: BTreeSet<String> = rpcs.filter(|rpc| !is_ours_alone(rpc)).collect();
        let rows: BTreeSet<String> = TABLE.iter().map(|row| row.rpc.to_owned()).collect();
        assert_eq!(rows, offered);
        assert_eq!(rows.len(), TABLE.len());
        assert!(ApiAction::named("Encrypt").is_some() && ApiAction::named("encrypt").is_none());
    }
}
