//! `keyferry key …`: CMKs.
//!
//! ```text
//! create.rs    makes a CMK     list.rs  lists CMKs
//! describe.rs  shows a CMK     life.rs  switches, protects and deletes one
//! versions.rs  its versions    tags.rs  its tags
//! ```

mod create;
mod describe;
mod key_args;
mod life;
mod list;
mod tags;
mod versions;

use clap::Subcommand;

use self::create::CreateKey;
use self::key_args::KeyArgs;
use self::life::{ProtectKey, ScheduleDeletion, UpdateDescription};
use self::list::ListKeys;
use self::tags::{KeysArgs, TagKey, UntagKey};
use self::versions::{DescribeVersion, ListVersions, PublicKeyOfVersion, RotationPolicy};
use super::failure::EarlyExit;

/// Make, describe, list, switch, rotate, tag, protect and delete CMKs
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a CMK
    Create(CreateKey),
    /// Show a CMK
    Describe(KeyArgs),
    /// List CMKs, all of them or those that match, oldest first
    List(ListKeys),
    /// Enable a CMK
    Enable(KeyArgs),
    /// Disable a CMK: nothing that begins after the answer succeeds with it
    Disable(KeyArgs),
    /// Change the description of a CMK
    UpdateDescription(UpdateDescription),
    /// Stop all use of a CMK now, and delete it for ever after a number of days:
    /// what it sealed can never be opened again
    ScheduleDeletion(ScheduleDeletion),
    /// Cancel a scheduled deletion, and enable the CMK
    CancelDeletion(KeyArgs),
    /// Protect a CMK from deletion
    Protect(ProtectKey),
    /// Remove the protection from deletion
    Unprotect(ProtectKey),
    /// Make a new version of a CMK: a symmetric one seals under it from then
    /// on, and opens with all of its versions
    Rotate(KeyArgs),
    /// List the versions of a CMK, oldest first
    Versions(ListVersions),
    /// Show a version of a CMK
    DescribeVersion(DescribeVersion),
    /// Rotate a symmetric CMK on a schedule, or stop doing so
    RotationPolicy(RotationPolicy),
    /// Get the public key of a version of an asymmetric CMK, as PEM
    PublicKey(PublicKeyOfVersion),
    /// Add tags to a CMK, or to several; a tag key that it has already gets the
    /// new value
    Tag(TagKey),
    /// Remove tags from a CMK, or from several
    Untag(UntagKey),
    /// List the tags of a CMK, or of several
    Tags(KeysArgs),
}

impl KeyCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Create(args) => args.run(),
            Self::Describe(args) => describe::describe(args),
            Self::List(args) => args.run(),
            Self::Enable(args) => life::enable(args),
            Self::Disable(args) => life::disable(args),
            Self::UpdateDescription(args) => args.run(),
            Self::ScheduleDeletion(args) => args.run(),
            Self::CancelDeletion(args) => life::cancel_deletion(args),
            Self::Protect(args) => args.run(true),
            Self::Unprotect(args) => args.run(false),
            Self::Rotate(args) => versions::rotate(args),
            Self::Versions(args) => args.run(),
            Self::DescribeVersion(args) => args.run(),
            Self::RotationPolicy(args) => args.run(),
            Self::PublicKey(args) => args.run(),
            Self::Tag(args) => args.run(),
            Self::Untag(args) => args.run(),
            Self::Tags(args) => tags::tags(args),
        }
    }
}
