//! `keyferry key rotate|versions|…`: the generations of CMKs.

use clap::Args;

use super::connection::Session;
use super::failure::Stop;
use super::files::{Care, Destination};
use super::key::OneKey;
use super::out::{keep, spoken_beside};
use super::pages::{PageArgs, follow};
use super::text::Text;
use crate::proto::v1;

/// Lists versions.
#[derive(Args, Debug)]
pub struct Versions {
    /// The CMK, and how the server is called.
    #[command(flatten)]
    pub one: OneKey,
    #[command(flatten)]
    pages: PageArgs,
}

/// Describes a version.
#[derive(Args, Debug)]
pub struct DescribeVersion {
    /// The CMK, and how the server is called.
    #[command(flatten)]
    pub one: OneKey,
    /// The version's id
    #[arg(long, value_name = "VERSION")]
    key_version: String,
}

/// Switches rotation on a schedule.
#[derive(Args, Debug)]
pub struct RotationPolicy {
    /// The CMK, and how the server is called.
    #[command(flatten)]
    pub one: OneKey,
    #[command(flatten)]
    schedule: Schedule,
}

/// How often; one of the two.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Schedule {
    /// The time between rotations, 7 to 730 days, as in 90d; d, h, m and s are
    /// understood
    #[arg(long, value_name = "INTERVAL")]
    every: Option<String>,
    /// Not on a schedule
    #[arg(long)]
    off: bool,
}

/// Gets a public key.
#[derive(Args, Debug)]
pub struct PublicKey {
    /// The CMK, and how the server is called.
    #[command(flatten)]
    pub one: OneKey,
    /// The version's id: `keyferry key versions` lists them
    #[arg(long, value_name = "VERSION")]
    key_version: String,
    /// Where the public key goes, as PEM; an existing file is replaced; - is
    /// standard output. May be left out with --json, which holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<Destination>,
}

/// `rotate`
pub fn rotate(one: &OneKey) -> Result<(), Stop> {
    let request =
        v1::CreateKeyVersionRequest { key_id: one.key.clone(), dry_run: one.call.dry_run() };
    one.call.ask(
        async |server| server.key_management().create_key_version(server.request(request)).await,
        |answer| version(answer.key_version.as_ref()),
    )
}

impl Versions {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        self.one.call.talk(async |session| self.follow(&session).await)
    }

    async fn follow(&self, session: &Session) -> Result<(), Stop> {
        let OneKey { key, call } = &self.one;
        let listed = follow(async |page| {
            let request = session.request(v1::ListKeyVersionsRequest {
                key_id: key.clone(),
                page_size: Some(self.pages.size()),
                page_token: page.token,
                dry_run: call.dry_run(),
                ..Default::default()
            });
            let answer =
                session.answer(session.key_management().list_key_versions(request).await)?;
            call.output().answer(&answer, || versions(&answer.key_versions, page.first))?;
            Ok(answer.next_page_token)
        });
        listed.await
    }
}

impl DescribeVersion {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let OneKey { key, call } = &self.one;
        let request = v1::DescribeKeyVersionRequest {
            key_id: key.clone(),
            key_version_id: self.key_version.clone(),
            dry_run: call.dry_run(),
        };
        call.ask(
            async |server| {
                server.key_management().describe_key_version(server.request(request)).await
            },
            |answer| version(answer.key_version.as_ref()),
        )
    }
}

impl RotationPolicy {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let OneKey { key, call } = &self.one;
        let every = self.schedule.every.as_ref();
        let request = v1::UpdateRotationPolicyRequest {
            key_id: key.clone(),
            enable_automatic_rotation: Some(every.is_some()),
            rotation_interval: every.cloned().unwrap_or_default(),
            dry_run: call.dry_run(),
        };
        call.ask(
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

impl PublicKey {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let OneKey { key, call } = &self.one;
        let out = self.out.as_ref();
        let output = spoken_beside(call.output(), call.json(), out, Care::Public)?;
        let request = v1::GetPublicKeyRequest {
            key_id: key.clone(),
            key_version_id: self.key_version.clone(),
            dry_run: call.dry_run(),
        };
        call.talk(async |session| {
            let request = session.request(request);
            let answer = session.answer(session.kms().get_public_key(request).await)?;
            let written = keep(out, answer.public_key.as_bytes(), Care::Public)?;
            output.written(&answer, [("public_key", written)])
        })
    }
}

fn version(version: Option<&v1::KeyVersion>) -> Text {
    let v1::KeyVersion { key_id, key_version_id, creation_date } =
        version.cloned().unwrap_or_default();
    Text::Fields(vec![
        ("key_id", key_id),
        ("key_version_id", key_version_id),
        ("creation_date", creation_date),
    ])
}

fn versions(versions: &[v1::KeyVersion], first: bool) -> Text {
    let row = |version: &v1::KeyVersion| {
        vec![version.key_version_id.clone(), version.creation_date.clone()]
    };
    Text::Table {
        heading: (first && !versions.is_empty()).then(|| vec!["key_version_id", "creation_date"]),
        rows: versions.iter().map(row).collect(),
    }
}
