//! The table that is expected. It is written out here, and taken over from
//! nothing in the program.

use tonic::Code;

/// The expected answer of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell(Option<&'static str>);

impl Cell {
    /// The code and reason of the refusal that is expected, if one is.
    pub fn refusal(self) -> Option<(Code, String)> {
        self.0.map(|reason| (Code::FailedPrecondition, reason.to_owned()))
    }
}

const OK: Cell = Cell(None);
const DISA: Cell = Cell(Some("Rejected.Disabled"));
const DELE: Cell = Cell(Some("Rejected.PendingDeletion"));
const STAT: Cell = Cell(Some("Rejected.StateModifiedFailed"));
/// Of another kind, to an operation for symmetric CMKs.
const KIND: Cell = Cell(Some("UnsupportedOperation"));
/// Of another kind, to an operation for asymmetric CMKs or for rotation.
const PAIR: Cell = Cell(Some("Rejected.UnsupportedOperation"));

/// The kinds of CMK, in the order of a row's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Symmetric,
    Encrypting,
    Signing,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Symmetric, Self::Encrypting, Self::Signing];

    /// Its `key_spec` and `key_usage`.
    pub fn spec_and_usage(self) -> (&'static str, &'static str) {
        match self {
            Self::Symmetric => ("Aliyun_AES_256", "ENCRYPT/DECRYPT"),
            Self::Encrypting => ("EC_SM2", "ENCRYPT/DECRYPT"),
            Self::Signing => ("EC_P256", "SIGN/VERIFY"),
        }
    }
}

/// The states, in the order of a row's triples.
pub const STATES: [&str; 3] = ["Enabled", "Disabled", "PendingDeletion"];

/// One RPC, and the part that the CMK plays in it where there are several.
#[derive(Debug)]
pub struct Row {
    pub rpc: &'static str,
    pub part: &'static str,
    /// By kind, then by state.
    pub cells: [[Cell; 3]; 3],
}

const fn row(rpc: &'static str, part: &'static str, cells: [[Cell; 3]; 3]) -> Row {
    Row { rpc, part, cells }
}

const ANY: [[Cell; 3]; 3] = [[OK; 3]; 3];
/// Operations that use a key: the state is judged before the kind.
const USED: [Cell; 3] = [OK, DISA, DELE];
const NO_KIND: [Cell; 3] = [KIND, DISA, DELE];
const NO_PAIR: [Cell; 3] = [PAIR, DISA, DELE];
const ANNOTATED: [Cell; 3] = [OK, OK, DELE];
const CHANGED: [Cell; 3] = [OK, OK, STAT];
const CANCELLED: [Cell; 3] = [STAT, STAT, OK];

/// Every RPC of both services.
pub const ROWS: [Row; 42] = [
    // ............................................ Symmetric, Encrypting, Signing
    row("Kms/GenerateDataKeyWithoutPlaintext", "", [USED, NO_KIND, NO_KIND]),
    row("Kms/GenerateDataKey", "", [USED, NO_KIND, NO_KIND]),
    row("Kms/GenerateAndExportDataKey", "", [USED, NO_KIND, NO_KIND]),
    row("Kms/Encrypt", "", [USED, NO_KIND, NO_KIND]),
    row("Kms/ExportDataKey", "", [USED, NO_KIND, NO_KIND]),
    row("Kms/ExportDataKeys", "", [USED, NO_KIND, NO_KIND]),
    row("Kms/Decrypt", "", [USED, NO_KIND, NO_KIND]),
    row("Kms/ReEncrypt", "source", [USED, NO_KIND, NO_KIND]),
    row("Kms/ReEncrypt", "asymmetric source", [NO_KIND, USED, NO_KIND]),
    row("Kms/ReEncrypt", "destination", [USED, NO_KIND, NO_KIND]),
    row("Kms/ReEncrypt", "destination of an import", [USED, NO_KIND, NO_KIND]),
    row("Kms/GetPublicKey", "", [NO_PAIR, USED, USED]),
    row("Kms/AsymmetricEncrypt", "", [NO_PAIR, USED, NO_PAIR]),
    row("Kms/AsymmetricDecrypt", "", [NO_PAIR, USED, NO_PAIR]),
    row("Kms/AsymmetricSign", "", [NO_PAIR, NO_PAIR, USED]),
    row("Kms/AsymmetricVerify", "", [NO_PAIR, NO_PAIR, USED]),
    row("KeyManagement/CreateKey", "", ANY),
    row("KeyManagement/DescribeKey", "", ANY),
    row("KeyManagement/ListKeys", "", ANY),
    row("KeyManagement/UpdateKeyDescription", "", [ANNOTATED; 3]),
    row("KeyManagement/EnableKey", "", [CHANGED; 3]),
    row("KeyManagement/DisableKey", "", [CHANGED; 3]),
    row("KeyManagement/ScheduleKeyDeletion", "", [CHANGED; 3]),
    row("KeyManagement/CancelKeyDeletion", "", [CANCELLED; 3]),
    row("KeyManagement/SetDeletionProtection", "", [CHANGED; 3]),
    row("KeyManagement/CreateKeyVersion", "", [USED; 3]),
    row("KeyManagement/DescribeKeyVersion", "", ANY),
    row("KeyManagement/ListKeyVersions", "", ANY),
    row("KeyManagement/UpdateRotationPolicy", "", [USED, NO_PAIR, NO_PAIR]),
    row("KeyManagement/TagResource", "", [ANNOTATED; 3]),
    row("KeyManagement/UntagResource", "", [ANNOTATED; 3]),
    row("KeyManagement/ListResourceTags", "", ANY),
    row("KeyManagement/TagResources", "", [ANNOTATED; 3]),
    row("KeyManagement/UntagResources", "", [ANNOTATED; 3]),
    row("KeyManagement/ListTagResources", "", ANY),
    row("KeyManagement/DescribeRegions", "", ANY),
    row("KeyManagement/CreateAlias", "", [CHANGED; 3]),
    row("KeyManagement/UpdateAlias", "named until now", ANY),
    row("KeyManagement/UpdateAlias", "named from now on", [ANNOTATED; 3]),
    row("KeyManagement/DeleteAlias", "", ANY),
    row("KeyManagement/ListAliases", "", ANY),
    row("KeyManagement/ListAliasesByKeyId", "", ANY),
];

/// The state that a permitted call leaves a CMK in, where it changes it.
pub fn state_after(rpc: &str) -> Option<&'static str> {
    match rpc {
        "KeyManagement/EnableKey" | "KeyManagement/CancelKeyDeletion" => Some("Enabled"),
        "KeyManagement/DisableKey" => Some("Disabled"),
        "KeyManagement/ScheduleKeyDeletion" => Some("PendingDeletion"),
        _ => None,
    }
}
