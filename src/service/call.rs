//! One call of a service function, and the one way to make it.
//!
//! Both faces and the items of streams come through here: a trail is opened, the function
//! answers, the trail is closed, and the reply is given once its line is on the disk.

use std::ops::Deref;

use super::Services;
use super::caller::Caller;
use crate::access::decisions::{self, Decisions};
use crate::access::operations::operations;
use crate::access::principal::Principal;
use crate::access::purpose::Purpose;
use crate::audit::trail::{Closing, Origin, Reply, Trail};
use crate::error::Result;
use crate::proto::v1;

/// A call: its caller, and the trail of what is decided for it.
pub(super) struct Call<'a> {
    caller: &'a Caller,
    trail: Trail,
}

impl Deref for Call<'_> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        self.caller
    }
}

impl<'a> Call<'a> {
    /// Opens the trail of a request, or of an item of a stream.
    pub(super) fn begin<P: Purpose>(
        services: &Services,
        caller: &'a Caller,
        decisions: Decisions<P>,
        item: Option<u64>,
    ) -> Self {
        let origin = Origin {
            principal: caller.principal.as_str(),
            by: caller.by.as_ref().map(Principal::as_str),
            peer: caller.peer.as_deref(),
            request_id: &caller.request_id,
            rpc: decisions.rpc(),
            item,
            is_look: decisions.is_look(),
            takes_away: decisions.takes_away(),
        };
        Self { caller, trail: Trail::open(&services.log, &origin) }
    }

    /// The caller.
    pub(super) const fn caller(&self) -> &'a Caller {
        self.caller
    }

    /// The trail.
    pub(super) const fn trail(&self) -> &Trail {
        &self.trail
    }

    /// A response, to be recorded.
    pub(super) fn reply<T>(&self, response: T) -> Reply<T> {
        self.trail.reply(response)
    }

    /// Closes the trail.
    pub(super) fn close<T>(self, answered: Result<Reply<T>>) -> Closing<T> {
        self.trail.close(answered)
    }
}

/// The functions that the faces call, by the list of operations.
macro_rules! calls {
    ($($service:ident {
        $($rpc:ident $([$http:ident])?: $purpose:ident = $($action:ident on $resource:ident)&+;)*
    } streams $streams:tt)+) => {
        pastey::paste! {
            impl Services {
                $($(
                    #[doc = concat!("Carries out ", stringify!($rpc), "; answers once that is recorded.")]
                    pub async fn [<$rpc:snake>](
                        &self,
                        caller: &Caller,
                        request: v1::[<$rpc Request>],
                    ) -> Result<v1::[<$rpc Response>]> {
                        let decisions = decisions::[<$rpc:snake:upper>];
                        let call = Call::begin(self, caller, decisions, None);
                        let answered = self.[<answer_ $rpc:snake>](&call, request).await;
                        call.close(answered).durable().await
                    }
                )*)+
            }
        }
    };
}

operations!(calls);
