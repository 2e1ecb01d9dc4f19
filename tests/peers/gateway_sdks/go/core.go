package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/kms"
)

// Constructors of requests of the SDK before the present one.
var made = map[string]any{
	"AsymmetricDecrypt":               kms.CreateAsymmetricDecryptRequest,
	"AsymmetricEncrypt":               kms.CreateAsymmetricEncryptRequest,
	"AsymmetricSign":                  kms.CreateAsymmetricSignRequest,
	"AsymmetricVerify":                kms.CreateAsymmetricVerifyRequest,
	"CancelKeyDeletion":               kms.CreateCancelKeyDeletionRequest,
	"CreateAlias":                     kms.CreateCreateAliasRequest,
	"CreateKey":                       kms.CreateCreateKeyRequest,
	"Decrypt":                         kms.CreateDecryptRequest,
	"DeleteAlias":                     kms.CreateDeleteAliasRequest,
	"DescribeKey":                     kms.CreateDescribeKeyRequest,
	"DisableKey":                      kms.CreateDisableKeyRequest,
	"EnableKey":                       kms.CreateEnableKeyRequest,
	"Encrypt":                         kms.CreateEncryptRequest,
	"ExportDataKey":                   kms.CreateExportDataKeyRequest,
	"GenerateAndExportDataKey":        kms.CreateGenerateAndExportDataKeyRequest,
	"GenerateDataKey":                 kms.CreateGenerateDataKeyRequest,
	"GenerateDataKeyWithoutPlaintext": kms.CreateGenerateDataKeyWithoutPlaintextRequest,
	"GetPublicKey":                    kms.CreateGetPublicKeyRequest,
	"ListAliasesByKeyId":              kms.CreateListAliasesByKeyIdRequest,
	"ListKeyVersions":                 kms.CreateListKeyVersionsRequest,
	"ListKeys":                        kms.CreateListKeysRequest,
	"ListResourceTags":                kms.CreateListResourceTagsRequest,
	"ReEncrypt":                       kms.CreateReEncryptRequest,
	"ScheduleKeyDeletion":             kms.CreateScheduleKeyDeletionRequest,
	"TagResource":                     kms.CreateTagResourceRequest,
	"UntagResource":                   kms.CreateUntagResourceRequest,
	"UpdateAlias":                     kms.CreateUpdateAliasRequest,
	"UpdateRotationPolicy":            kms.CreateUpdateRotationPolicyRequest,
}

func coreClient(endpoint string) client {
	return func(accessKeyID, secret string) call {
		core, err := kms.NewClientWithAccessKey("local", accessKeyID, secret)
		if err != nil {
			fail("%v", err)
		}
		return func(action string, parameters members) (members, error) {
			request := reflect.ValueOf(made[action]).Call(nil)[0]
			coreGiven(request, endpoint, parameters)
			answered := reflect.ValueOf(core).MethodByName(action).Call([]reflect.Value{request})
			if err, failed := answered[1].Interface().(error); failed {
				return nil, coreRefused(err)
			}
			return shown(answered[0].Interface())
		}
	}
}

// coreGiven sets a request's fields, which are all texts.
func coreGiven(request reflect.Value, endpoint string, parameters members) {
	asked := request.Interface().(requests.AcsRequest)
	asked.SetDomain(endpoint)
	asked.SetScheme("http")
	for name, value := range parameters {
		text := fmt.Sprint(value)
		if pairs, are := value.(map[string]any); are {
			written, _ := json.Marshal(pairs)
			text = string(written)
		}
		if field := request.Elem().FieldByName(name); field.IsValid() {
			field.SetString(text)
		} else {
			// A parameter newer than this SDK.
			asked.GetQueryParams()[name] = text
		}
	}
}

func coreRefused(err error) error {
	var told *sdkerrors.ServerError
	if !errors.As(err, &told) {
		return err
	}
	// It compares the server's string to sign with its own.
	if told.ErrorCode() == "SignatureDoesNotMatch" && told.Recommend() != "InvalidAccessKeySecret: Please check you AccessKeySecret" {
		return err
	}
	return &refused{told.ErrorCode(), told.Message(), told.RequestId(), told.HttpStatus()}
}
