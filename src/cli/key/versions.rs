//! `keyferry key rotate|versions|…`: the versions of a CMK.

use clap::Args;

use super::key_args::KeyArgs;
use crate::cli::client::pages::{ListTable, PageArgs};
use crate::cli::failure::EarlyExit;
use crate::cli::io::out_file::write_out;
use crate::cli::io::output_target::{OutputTarget, Sensitivity};
use crate::cli::io::text::Text;
use crate::proto::v1;

#[derive(Args, Debug)]
pub struct ListVersions {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    pages: PageArgs,
}

#[derive(Args, Debug)]
pub struct DescribeVersion {
    #[command(flatten)]
    key: KeyArgs,
    /// The version's id
    #[arg(long, value_name = "VERSION")]
    key_version: String,
}

#[derive(Args, Debug)]
pub struct RotationPolicy {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    schedule: RotationSchedule,
}

/// One of the two.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct RotationSchedule {
    /// The time between rotations, 7 to 730 days, as in 90d; the units are d,
    /// h, m and s
    #[arg(long, value_name = "INTERVAL")]
    every: Option<String>,
    /// No rotation on a schedule
    #[arg(long)]
    off: bool,
}

#[derive(Args, Debug)]
pub struct PublicKeyOfVersion {
    #[command(flatten)]
    key: KeyArgs,
    /// The version's id: `keyferry key versions` lists them
    #[arg(long, value_name = "VERSION")]
    key_version: String,
    /// The file that the public key is written to, as PEM; an existing file is
    /// replaced; - is standard output. May be left out with --json, which holds
    /// it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<OutputTarget>,
}

/// `rotate`
pub fn rotate(KeyArgs { key, call }: &KeyArgs) -> Result<(), EarlyExit> {
    let request = v1::CreateKeyVersionRequest { key_id: key.clone(), dry_run: call.dry_run() };
    call.call(
        async |server| server.key_management().create_key_version(server.request(request)).await,
        |response| fields(response.key_version.as_ref()),
    )
}

impl ListVersions {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let KeyArgs { key, call } = &self.key;
        let heading = &["key_version_id", "creation_date"];
        ListTable { call, heading, none: "The CMK has no version: report this." }.print(
            async |session, page_token| {
                let request = session.request(v1::ListKeyVersionsRequest {
                    key_id: key.clone(),
                    page_size: Some(self.pages.size()),
                    page_token,
                    dry_run: call.dry_run(),
                    ..Default::default()
                });
                session.key_management().list_key_versions(request).await
            },
            |page: &v1::ListKeyVersionsResponse| {
                let row = |version: &v1::KeyVersion| {
                    vec![version.key_version_id.clone(), version.creation_date.clone()]
                };
                (page.key_versions.iter().map(row).collect(), page.next_page_token.clone())
            },
        )
    }
}

impl DescribeVersion {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let KeyArgs { key, call } = &self.key;
        let request = v1::DescribeKeyVersionRequest {
            key_id: key.clone(),
            key_version_id: self.key_version.clone(),
            dry_run: call.dry_run(),
        };
        call.call(
            async |server| {
                server.key_management().describe_key_version(server.request(request)).await
            },
            |response| fields(response.key_version.as_ref()),
        )
    }
}

impl RotationPolicy {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let KeyArgs { key, call } = &self.key;
        let every = self.schedule.every.as_ref();
        let request = v1::UpdateRotationPolicyRequest {
            key_id: key.clone(),
            enable_automatic_rotation: Some(every.is_some()),
            rotation_interval: every.cloned().unwrap_or_default(),
            dry_run: call.dry_run(),
        };
        call.call(
            async |server| {
                server.key_management().update_rotation_policy(server.request(request)).await
            },
            |_| {
                Text::line(match every {
                    Some(every) => format!("{key} is rotated every {every}."),
                    None => format!("{key} is not rotated on a schedule."),
                })
            },
        )
    }
}

impl PublicKeyOfVersion {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let KeyArgs { key, call } = &self.key;
        let out = self.out.as_ref();
        let output = call.output().beside(out, Sensitivity::Public)?;
        let request = v1::GetPublicKeyRequest {
            key_id: key.clone(),
            key_version_id: self.key_version.clone(),
            dry_run: call.dry_run(),
        };
        call.talk(async |session| {
            let request = session.request(request);
            let response = session.response(session.kms().get_public_key(request).await)?;
            let written = write_out(out, response.public_key.as_bytes(), Sensitivity::Public)?;
            output.written(&response, [("public_key", written)])
        })
    }
}

fn fields(version: Option<&v1::KeyVersion>) -> Text {
    let v1::KeyVersion { key_id, key_version_id, creation_date } =
        version.cloned().unwrap_or_default();
    Text::Fields(vec![
        ("key_id", key_id),
        ("key_version_id", key_version_id),
        ("creation_date", creation_date),
    ])
}
