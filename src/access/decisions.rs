//! The decision table: every decision that each RPC needs, all of which must
//! allow it, and the purpose of the grant that they give.

use std::fmt;
use std::marker::PhantomData;

use super::actions::{Actions, TAKING_AWAY};
use super::operations::{Action, operations};
use super::purpose::{Change, Look, Purpose, Use};

/// The resource of a request that a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// No key: the whole instance.
    Instance,
    /// The one key of the request, or the key that an alias names now.
    Key,
    /// The key that an alias shall name, or that a blob shall be sealed under.
    Destination,
    /// The key that shall be made, as it would be.
    NewKey,
    /// The alias of the request.
    Alias,
    /// The service account that an access key is for.
    Account,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instance => "the instance",
            Self::Key => "the key",
            Self::Destination => "the destination",
            Self::NewKey => "the key with the tags that it shall have",
            Self::Alias => "the alias",
            Self::Account => "the service account",
        })
    }
}

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The action.
    pub action: Action,
    /// The resource that it is done to.
    pub resource: Resource,
}

/// The decisions of one RPC, whose grants are good for the purpose `P`.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<P> {
    rpc: &'static str,
    required: &'static [Decision],
    purpose: PhantomData<P>,
}

/// A row of the table, whatever its purpose.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `Service/Method`.
    pub rpc: &'static str,
    /// The name of the purpose.
    pub purpose: &'static str,
    /// Whether it is to use key material.
    pub is_use: bool,
    /// All of them must allow.
    pub required: &'static [Decision],
}

impl<P: Purpose> Decisions<P> {
    /// `Service/Method`.
    #[must_use]
    pub const fn rpc(&self) -> &'static str {
        self.rpc
    }

    /// The decisions, all of which must allow.
    #[must_use]
    pub const fn required(&self) -> &'static [Decision] {
        self.required
    }

    /// Whether it takes a permission away.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        take_away(self.required)
    }

    /// Whether it only shows metadata.
    #[must_use]
    pub fn is_look(&self) -> bool {
        P::NAME == Look::NAME
    }

    /// Those of every RPC whose grants are good for this purpose.
    pub fn all() -> impl Iterator<Item = Self> {
        let rows = TABLE.iter().filter(|row| row.purpose == P::NAME);
        rows.map(|row| Self { rpc: row.rpc, required: row.required, purpose: PhantomData })
    }

    const fn row(&self) -> Row {
        Row { rpc: self.rpc, purpose: P::NAME, is_use: P::IS_USE, required: self.required }
    }
}

/// A constant for each operation, and the whole table.
macro_rules! decisions {
    ($($service:ident {
        $($rpc:ident $([$http:ident])?: $purpose:ident = $($action:ident on $resource:ident)&+;)*
    } streams {
        $($stream:ident: $of_stream:ident = $($each:ident on $subject:ident)&+;)*
    })+) => {
        pastey::paste! {
            $(
                $(decisions!(
                    [<$rpc:snake:upper>] $service $rpc $purpose $($action on $resource)&+
                );)*
                $(decisions!(
                    [<$stream:snake:upper>] $service $stream $of_stream $($each on $subject)&+
                );)*
            )+

            /// The whole table.
            pub const TABLE: &[Row] = &[$(
                $([<$rpc:snake:upper>].row(),)*
                $([<$stream:snake:upper>].row(),)*
            )+];
        }
    };
    ($name:ident $service:ident $rpc:ident $purpose:ident $($action:ident on $resource:ident)&+) => {
        #[doc = concat!("The decisions of ", stringify!($rpc), ".")]
        pub const $name: Decisions<$purpose> = Decisions {
            rpc: concat!(stringify!($service), "/", stringify!($rpc)),
            required: &[$(
                Decision { action: Action::$action, resource: Resource::$resource }
            ),+],
            purpose: PhantomData,
        };
    };
}

operations!(decisions);

const fn take_away(required: &[Decision]) -> bool {
    let mut rest = required;
    while let [decision, others @ ..] = rest {
        if TAKING_AWAY.meets(Actions::of(&[decision.action])) {
            return true;
        }
        rest = others;
    }
    false
}

/// Whether the RPC of this path, `/package.Service/Method`, takes a permission away.
#[must_use]
pub fn takes_away(path: &str) -> bool {
    let row = TABLE.iter().find(|row| path.rsplit('.').next() == Some(row.rpc));
    row.is_some_and(|row| take_away(row.required))
}

/// The actions that use key material.
pub const USES: Actions = {
    let (mut uses, mut rows) = (Actions::of(&[]), TABLE);
    while let [row, others @ ..] = rows {
        let mut required = row.required;
        while let ([decision, rest @ ..], true) = (required, row.is_use) {
            uses = uses.with(decision.action);
            required = rest;
        }
        rows = others;
    }
    uses
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_needs_something_and_every_action_has_one_purpose() {
        for row in TABLE {
            assert!(!row.required.is_empty(), "{}", row.rpc);
            for decision in row.required {
                let action = decision.action;
                let others = TABLE.iter().filter(|other| other.purpose != row.purpose);
                let elsewhere = others.flat_map(|other| other.required);
                assert!(elsewhere.into_iter().all(|other| other.action != action), "{action}");
            }
        }
    }

    #[test]
    fn cryptographic_operations_are_uses_and_management_is_not() {
        for row in TABLE {
            assert_eq!(row.rpc.starts_with("Kms/"), row.purpose == Use::NAME, "{}", row.rpc);
        }
    }
}
