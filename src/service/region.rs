//! The region of this instance.

use super::authorise::AccessRequest;
use super::call::Call;
use super::{Services, unless_dry_run};
use crate::access::decisions::DESCRIBE_REGIONS;
use crate::access::grant::Grant;
use crate::access::purpose::Look;
use crate::access::question::Subject;
use crate::audit::trail::Reply;
use crate::error::Result;
use crate::proto::v1;

impl Services {
    /// Lists the regions: ours.
    #[allow(clippy::unused_async, reason = "operations are awaited alike")]
    pub(super) async fn answer_describe_regions(
        &self,
        call: &Call<'_>,
        request: v1::DescribeRegionsRequest,
    ) -> Result<Reply<v1::DescribeRegionsResponse>> {
        let access = AccessRequest::new(call, DESCRIBE_REGIONS, request.dry_run);
        // It opens no door: the name of the region is no key.
        let _granted: Grant<Look> = self.authorise(access, Subject::Instance)?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::DescribeRegionsResponse {
            regions: vec![v1::Region { region_id: self.arns.region().to_owned() }],
            request_id: call.request_id.clone(),
        }))
    }
}
