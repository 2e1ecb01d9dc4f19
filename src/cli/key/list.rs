//! `keyferry key list`

use clap::Args;

use crate::cli::client::call::CallArgs;
use crate::cli::client::pages::{ListTable, PageArgs};
use crate::cli::failure::EarlyExit;
use crate::cli::options::key_value::KeyValue;
use crate::proto::v1;

#[derive(Args, Debug)]
pub struct ListKeys {
    /// Only CMKs that match: KeyState, KeySpec, KeyUsage, ProtectionLevel,
    /// CreatorType, DKMSInstanceId, KeyId, AliasName, Creator, TagKey or
    /// TagValue, and a value. May be given many times: the same key again is
    /// another value that matches as well; different keys must all match
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<KeyValue>,
    #[command(flatten)]
    pages: PageArgs,
    #[command(flatten)]
    call: CallArgs,
}

impl ListKeys {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let filters = request_filters(&self.filters);
        let none = if self.filters.is_empty() {
            "There is no CMK yet: `keyferry key create` makes one."
        } else {
            "No CMK matches: `keyferry key list` without --filter lists all CMKs."
        };
        ListTable { call: &self.call, heading: &["key_id", "key_arn"], none }.print(
            async |session, page_token| {
                let request = session.request(v1::ListKeysRequest {
                    page_size: Some(self.pages.size()),
                    page_token,
                    filters: filters.clone(),
                    dry_run: self.call.dry_run(),
                    ..Default::default()
                });
                session.key_management().list_keys(request).await
            },
            |page: &v1::ListKeysResponse| {
                let rows =
                    page.keys.iter().map(|key| vec![key.key_id.clone(), key.key_arn.clone()]);
                (rows.collect(), page.next_page_token.clone())
            },
        )
    }
}

/// One filter for each key, in the order in which the keys were first named.
fn request_filters(pairs: &[KeyValue]) -> Vec<v1::Filter> {
    let mut filters: Vec<v1::Filter> = Vec::new();
    for KeyValue { key, value } in pairs {
        match filters.iter_mut().find(|filter| filter.key == *key) {
            Some(filter) => filter.values.push(value.clone()),
            None => filters.push(v1::Filter { key: key.clone(), values: vec![value.clone()] }),
        }
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_again_is_another_value_of_its_filter() {
        let pairs: Vec<KeyValue> = ["KeyState=Enabled", "KeySpec=EC_SM2", "KeyState=Disabled"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let filter = |key: &str, values: &[&str]| v1::Filter {
            key: key.to_owned(),
            values: values.iter().map(ToString::to_string).collect(),
        };
        let expected =
            [filter("KeyState", &["Enabled", "Disabled"]), filter("KeySpec", &["EC_SM2"])];
        assert_eq!(request_filters(&pairs), expected);
    }
}
