//! A service of the real contract that does what `key_id` says, so that the
//! edge has something behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyferry::error::{Error, Rule};
use keyferry::proto::v1::kms_server::Kms;
use keyferry::proto::v1::{
    AsymmetricDecryptRequest, AsymmetricDecryptResponse, AsymmetricEncryptRequest,
    AsymmetricEncryptResponse, AsymmetricSignRequest, AsymmetricSignResponse,
    AsymmetricVerifyRequest, AsymmetricVerifyResponse, DecryptRequest, DecryptResponse,
    EncryptRequest, EncryptResponse, ExportDataKeyRequest, ExportDataKeyResponse,
    ExportDataKeysRequest, ExportDataKeysResponse, GenerateAndExportDataKeyRequest,
    GenerateAndExportDataKeyResponse, GenerateDataKeyRequest, GenerateDataKeyResponse,
    GenerateDataKeyWithoutPlaintextRequest, GenerateDataKeyWithoutPlaintextResponse,
    GetPublicKeyRequest, GetPublicKeyResponse, ReEncryptRequest, ReEncryptResponse,
};
use keyferry::service::caller::{Caller, Connection};
use tokio::sync::Semaphore;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

#[derive(Clone)]
pub struct Script {
    /// Lets `hold` go on.
    pub release: Arc<Semaphore>,
    /// How many calls hold now.
    pub holding: Arc<AtomicUsize>,
    /// How many calls have begun.
    pub begun: Arc<AtomicUsize>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            release: Arc::new(Semaphore::new(0)),
            holding: Arc::default(),
            begun: Arc::default(),
        }
    }
}

/// Counts while it lives, so that a call that is dropped is counted out.
struct Holding(Arc<AtomicUsize>);

impl Holding {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Script {
    async fn act(&self, script: &str) -> Result<(), Error> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        match script.split_once(' ').unwrap_or((script, "")) {
            ("sleep", ms) => tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await,
            ("hold", _) => {
                let _holding = Holding::new(&self.holding);
                self.release.acquire().await.unwrap().forget();
            }
            ("panic", text) => panic!("{text}"),
            ("disabled", _) => return Err(Rule::KeyDisabled.into()),
            ("internal", text) => return Err(Error::internal(text.to_owned())),
            _ => {}
        }
        Ok(())
    }
}

fn not_scripted<T>() -> Result<T, Status> {
    Err(Error::from(Rule::UnknownOperation).into_status("not scripted"))
}

#[tonic::async_trait]
impl Kms for Script {
    async fn generate_data_key_without_plaintext(
        &self,
        request: Request<GenerateDataKeyWithoutPlaintextRequest>,
    ) -> Result<Response<GenerateDataKeyWithoutPlaintextResponse>, Status> {
        let caller = request.extensions().get::<Caller>().expect("the edge's Caller").clone();
        let act = self.act(&request.get_ref().key_id).await;
        act.map_err(|error| error.into_status(&caller.request_id))?;
        Ok(Response::new(GenerateDataKeyWithoutPlaintextResponse {
            key_id: caller.principal.to_string(),
            key_version_id: (caller.deadline - Instant::now()).as_millis().to_string(),
            ciphertext_blob: Vec::new(),
            request_id: caller.request_id,
        }))
    }

    async fn export_data_key(
        &self,
        _: Request<ExportDataKeyRequest>,
    ) -> Result<Response<ExportDataKeyResponse>, Status> {
        not_scripted()
    }

    async fn generate_data_key(
        &self,
        _: Request<GenerateDataKeyRequest>,
    ) -> Result<Response<GenerateDataKeyResponse>, Status> {
        not_scripted()
    }

    async fn generate_and_export_data_key(
        &self,
        _: Request<GenerateAndExportDataKeyRequest>,
    ) -> Result<Response<GenerateAndExportDataKeyResponse>, Status> {
        not_scripted()
    }

    async fn encrypt(
        &self,
        _: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        not_scripted()
    }

    async fn decrypt(
        &self,
        _: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        not_scripted()
    }

    async fn re_encrypt(
        &self,
        _: Request<ReEncryptRequest>,
    ) -> Result<Response<ReEncryptResponse>, Status> {
        not_scripted()
    }

    type ExportDataKeysStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<ExportDataKeysResponse, Status>> + Send>>;

    async fn export_data_keys(
        &self,
        request: Request<tonic::Streaming<ExportDataKeysRequest>>,
    ) -> Result<Response<Self::ExportDataKeysStream>, Status> {
        let connection = request.extensions().get::<Arc<dyn Connection>>().expect("a stream's");
        let connection = connection.clone();
        let answers = request.into_inner().map(move |item| {
            let _ = item?;
            let principal =
                connection.principal().map_err(|error| error.into_status("a stream's"))?;
            Ok(ExportDataKeysResponse { item_id: principal.to_string(), outcome: None })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_public_key(
        &self,
        _: Request<GetPublicKeyRequest>,
    ) -> Result<Response<GetPublicKeyResponse>, Status> {
        not_scripted()
    }

    async fn asymmetric_encrypt(
        &self,
        _: Request<AsymmetricEncryptRequest>,
    ) -> Result<Response<AsymmetricEncryptResponse>, Status> {
        not_scripted()
    }

    async fn asymmetric_decrypt(
        &self,
        _: Request<AsymmetricDecryptRequest>,
    ) -> Result<Response<AsymmetricDecryptResponse>, Status> {
        not_scripted()
    }

    async fn asymmetric_sign(
        &self,
        _: Request<AsymmetricSignRequest>,
    ) -> Result<Response<AsymmetricSignResponse>, Status> {
        not_scripted()
    }

    async fn asymmetric_verify(
        &self,
        _: Request<AsymmetricVerifyRequest>,
    ) -> Result<Response<AsymmetricVerifyResponse>, Status> {
        not_scripted()
    }
}
