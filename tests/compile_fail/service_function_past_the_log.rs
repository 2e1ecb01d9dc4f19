//! The functions that answer are called by the way that records them, and by no other.
use keyferry::proto::v1::EncryptRequest;
use keyferry::service::Services;
use keyferry::service::caller::Caller;

async fn encrypt(services: &Services, caller: &Caller) {
    let _ = services.answer_encrypt(caller, EncryptRequest::default()).await;
}

fn main() {}
