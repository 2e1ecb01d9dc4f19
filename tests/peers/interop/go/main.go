// The round trip as a Go program makes it: roundtrip HOST:PORT
//
// A data key is made unseen, exported to an RSA key and to an SM2 key,
// unwrapped here by crypto/rsa and gmsm, and must be the same each time.
// Prints one line for each check.
package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log"
	"os"
	"runtime"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	keyferry "keyferry/interop/stubs/keyferry/v1"
)

var encryptionContext = map[string]string{"tenant": "acme", "purpose": "backups", "区域": "杭州"}

var checks int

func check(name string, holds bool) {
	if !holds {
		log.Fatalf("check %s FAILED", name)
	}
	checks++
	fmt.Printf("check %s ok\n", name)
}

// must stops the program at the first unexpected error.
func must[T any](value T, err error) T {
	if err != nil {
		log.Fatalf("%+v", err)
	}
	return value
}

// refused judges the status and the details of a call that must fail.
func refused(name string, err error, code codes.Code, reason string) *status.Status {
	found := status.Convert(err)
	info := detail[*errdetails.ErrorInfo](found)
	request := detail[*errdetails.RequestInfo](found)
	check(name, found.Code() == code && info.GetReason() == reason &&
		info.GetDomain() == "keyferry" && request.GetRequestId() != "")
	return found
}

// detail finds the detail of one type.
func detail[T any](of *status.Status) (none T) {
	for _, detail := range of.Details() {
		if found, ok := detail.(T); ok {
			return found
		}
	}
	return none
}

// gcm is AES-GCM under a data key.
func gcm(dataKey []byte) cipher.AEAD {
	return must(cipher.NewGCM(must(aes.NewCipher(dataKey))))
}

// traveller is one caller's connection and what it carries across.
type traveller struct {
	ctx     context.Context
	keys    keyferry.KmsClient
	managed keyferry.KeyManagementClient
	health  grpc_health_v1.HealthClient
	keyID   string
	alias   string
	blob    []byte
	dataKey []byte
	toRSA   *keyferry.ExportDataKeyRequest
}

func (t *traveller) makeKey() {
	requestID := "go-" + rand.Text()
	ctx := metadata.AppendToOutgoingContext(t.ctx, "x-request-id", requestID)
	made := must(t.managed.CreateKey(ctx, &keyferry.CreateKeyRequest{Description: "from Go"}))
	t.keyID = made.KeyMetadata.KeyId
	check("create_key", len(t.keyID) == 36 && made.KeyMetadata.KeyState == "Enabled")
	check("request_id", made.RequestId == requestID)

	t.alias = "alias/go-" + rand.Text()
	must(t.managed.CreateAlias(t.ctx, &keyferry.CreateAliasRequest{AliasName: t.alias, KeyId: t.keyID}))
	described := must(t.managed.DescribeKey(t.ctx, &keyferry.DescribeKeyRequest{KeyId: t.alias}))
	check("alias", described.KeyMetadata.KeyId == t.keyID)
}

func (t *traveller) makeDataKey() {
	unseen := must(t.keys.GenerateDataKeyWithoutPlaintext(t.ctx,
		&keyferry.GenerateDataKeyWithoutPlaintextRequest{KeyId: t.alias, EncryptionContext: encryptionContext}))
	t.blob = unseen.CiphertextBlob
	check("generate_without_plaintext", unseen.KeyId == t.keyID && len(t.blob) == 32+110)
}

func (t *traveller) export(to *keyferry.ExportDataKeyRequest) []byte {
	to.CiphertextBlob = t.blob
	to.EncryptionContext = encryptionContext
	return must(t.keys.ExportDataKey(t.ctx, to)).ExportedDataKey
}

func (t *traveller) exportToRSA() {
	recipient := must(rsa.GenerateKey(rand.Reader, 2048))
	t.toRSA = &keyferry.ExportDataKeyRequest{
		PublicKeyBlob:     must(x509.MarshalPKIXPublicKey(recipient.Public())),
		WrappingKeySpec:   keyferry.WrappingKeySpec_WRAPPING_KEY_SPEC_RSA_2048,
		WrappingAlgorithm: keyferry.WrappingAlgorithm_WRAPPING_ALGORITHM_RSAES_OAEP_SHA_256,
	}
	t.dataKey = must(rsa.DecryptOAEP(sha256.New(), nil, recipient, t.export(t.toRSA), nil))
	check("export_rsa_sha_256", len(t.dataKey) == 32)

	withSHA1 := proto.Clone(t.toRSA).(*keyferry.ExportDataKeyRequest)
	withSHA1.WrappingAlgorithm = keyferry.WrappingAlgorithm_WRAPPING_ALGORITHM_RSAES_OAEP_SHA_1
	opened := must(rsa.DecryptOAEP(sha1.New(), nil, recipient, t.export(withSHA1), nil))
	check("export_rsa_sha_1", bytes.Equal(opened, t.dataKey))

	t.generateAndExport(recipient)
}

func (t *traveller) generateAndExport(recipient crypto.Decrypter) {
	both := must(t.keys.GenerateAndExportDataKey(t.ctx, &keyferry.GenerateAndExportDataKeyRequest{
		KeyId:             t.keyID,
		KeySpec:           keyferry.DataKeySpec_DATA_KEY_SPEC_AES_128,
		PublicKeyBlob:     t.toRSA.PublicKeyBlob,
		WrappingKeySpec:   t.toRSA.WrappingKeySpec,
		WrappingAlgorithm: t.toRSA.WrappingAlgorithm,
	}))
	unwrapped := must(recipient.Decrypt(nil, both.ExportedDataKey, &rsa.OAEPOptions{Hash: crypto.SHA256}))
	opened := must(t.keys.Decrypt(t.ctx, &keyferry.DecryptRequest{CiphertextBlob: both.CiphertextBlob}))
	check("generate_and_export", len(unwrapped) == 16 && bytes.Equal(opened.Plaintext, unwrapped))
}

func (t *traveller) exportToSM2() {
	recipient := must(sm2.GenerateKey(rand.Reader))
	to := &keyferry.ExportDataKeyRequest{
		PublicKeyBlob:     must(smx509.MarshalPKIXPublicKey(recipient.Public())),
		WrappingKeySpec:   keyferry.WrappingKeySpec_WRAPPING_KEY_SPEC_EC_SM2,
		WrappingAlgorithm: keyferry.WrappingAlgorithm_WRAPPING_ALGORITHM_SM2PKE,
	}
	opened := must(recipient.Decrypt(nil, t.export(to), sm2.ASN1DecrypterOpts))
	check("export_sm2_der", bytes.Equal(opened, t.dataKey))

	to.Sm2CiphertextEncoding = keyferry.Sm2CiphertextEncoding_SM2_CIPHERTEXT_ENCODING_RAW_C1C3C2
	raw := t.export(to)
	opened = must(recipient.Decrypt(nil, raw, sm2.NewPlainDecrypterOpts(sm2.C1C3C2)))
	check("export_sm2_raw", len(raw) == 32+97 && bytes.Equal(opened, t.dataKey))
}

func (t *traveller) decrypt(blob []byte, context map[string]string) *keyferry.DecryptResponse {
	return must(t.keys.Decrypt(t.ctx, &keyferry.DecryptRequest{CiphertextBlob: blob, EncryptionContext: context}))
}

func (t *traveller) useDataKey() {
	opened := t.decrypt(t.blob, encryptionContext).Plaintext
	check("decrypt_is_the_same", bytes.Equal(opened, t.dataKey))
	nonce := make([]byte, 12)
	must(rand.Read(nonce))
	sealed := gcm(opened).Seal(nil, nonce, []byte("a file"), nil)
	file := must(gcm(t.dataKey).Open(nil, nonce, sealed, nil))
	check("data_key_works", string(file) == "a file")

	length := uint32(48)
	shown := must(t.keys.GenerateDataKey(t.ctx, &keyferry.GenerateDataKeyRequest{
		KeyId: t.keyID, NumberOfBytes: &length, EncryptionContext: encryptionContext}))
	opened = t.decrypt(shown.CiphertextBlob, encryptionContext).Plaintext
	check("generate_data_key", len(opened) == 48 && bytes.Equal(opened, shown.Plaintext))
}

func (t *traveller) encrypt() {
	words := []byte("密钥 and bytes")
	encrypted := must(t.keys.Encrypt(t.ctx, &keyferry.EncryptRequest{
		KeyId: t.alias, Plaintext: words, EncryptionContext: encryptionContext}))
	opened := t.decrypt(encrypted.CiphertextBlob, encryptionContext).Plaintext
	check("encrypt_decrypt", bytes.Equal(opened, words))

	other := must(t.managed.CreateKey(t.ctx, &keyferry.CreateKeyRequest{})).KeyMetadata.KeyId
	elsewhere := map[string]string{"moved": "yes"}
	moved := must(t.keys.ReEncrypt(t.ctx, &keyferry.ReEncryptRequest{
		CiphertextBlob:               encrypted.CiphertextBlob,
		SourceEncryptionContext:      encryptionContext,
		DestinationKeyId:             other,
		DestinationEncryptionContext: elsewhere,
	}))
	again := t.decrypt(moved.CiphertextBlob, elsewhere)
	check("re_encrypt", moved.KeyId == t.keyID && again.KeyId == other && bytes.Equal(again.Plaintext, words))
}

func (t *traveller) breakRules() {
	_, err := t.keys.Decrypt(t.ctx, &keyferry.DecryptRequest{
		CiphertextBlob: t.blob, EncryptionContext: map[string]string{"tenant": "other"}})
	refused("wrong_context", err, codes.InvalidArgument, "InvalidParameter")

	_, err = t.keys.GenerateDataKey(t.ctx, &keyferry.GenerateDataKeyRequest{})
	missing := refused("missing_parameter", err, codes.InvalidArgument, "MissingParameter")
	violations := detail[*errdetails.BadRequest](missing).GetFieldViolations()
	check("bad_request_field", len(violations) == 1 && violations[0].Field == "key_id")

	_, err = t.managed.DescribeKey(t.ctx, &keyferry.DescribeKeyRequest{
		KeyId: "01890a5d-ac96-774b-bcce-b302099a8057"})
	refused("unknown_key", err, codes.NotFound, "Forbidden.KeyNotFound")

	_, err = t.keys.Decrypt(t.ctx, &keyferry.DecryptRequest{
		CiphertextBlob: t.blob, EncryptionContext: encryptionContext, DryRun: true})
	refused("dry_run", err, codes.FailedPrecondition, "DryRunOperationError")
}

func (t *traveller) disable() {
	must(t.managed.DisableKey(t.ctx, &keyferry.DisableKeyRequest{KeyId: t.keyID}))
	_, err := t.keys.ExportDataKey(t.ctx, t.toRSA)
	disabled := refused("disabled_key", err, codes.FailedPrecondition, "Rejected.Disabled")
	violations := detail[*errdetails.PreconditionFailure](disabled).GetViolations()
	check("precondition", len(violations) == 1 && violations[0].Type == "Rejected.Disabled")

	must(t.managed.EnableKey(t.ctx, &keyferry.EnableKeyRequest{KeyId: t.keyID}))
	check("enabled_again", bytes.Equal(t.decrypt(t.blob, encryptionContext).Plaintext, t.dataKey))
}

func (t *traveller) askHealth() {
	answer := must(t.health.Check(t.ctx, &grpc_health_v1.HealthCheckRequest{Service: "keyferry.v1.Kms"}))
	check("health", answer.Status == grpc_health_v1.HealthCheckResponse_SERVING)
}

func main() {
	fmt.Printf("peer grpc-go %s (%s)\n", grpc.Version, runtime.Version())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connection := must(grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials())))
	t := &traveller{
		ctx:     ctx,
		keys:    keyferry.NewKmsClient(connection),
		managed: keyferry.NewKeyManagementClient(connection),
		health:  grpc_health_v1.NewHealthClient(connection),
	}
	t.makeKey()
	t.makeDataKey()
	t.exportToRSA()
	t.exportToSM2()
	t.useDataKey()
	t.encrypt()
	t.breakRules()
	t.disable()
	t.askHealth()
	fmt.Printf("%d checks\n", checks)
}
