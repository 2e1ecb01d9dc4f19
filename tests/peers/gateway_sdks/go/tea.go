package main

import (
	"encoding/json"
	"errors"
	"reflect"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	kmsclient "github.com/alibabacloud-go/kms-20160120/v3/client"
	"github.com/alibabacloud-go/tea/tea"
)

// teaClient is the present SDK.
func teaClient(endpoint, algorithm string) client {
	return func(accessKeyID, secret string) call {
		config := &openapi.Config{
			AccessKeyId:     tea.String(accessKeyID),
			AccessKeySecret: tea.String(secret),
			Endpoint:        tea.String(endpoint),
			Protocol:        tea.String("http"),
		}
		if algorithm == "v2" {
			config.SignatureAlgorithm = tea.String("v2")
		}
		kms, err := kmsclient.NewClient(config)
		if err != nil {
			fail("%v", err)
		}
		return func(action string, parameters members) (members, error) { return teaCall(kms, action, parameters) }
	}
}

// teaCall calls the method of that name, by the types that it takes and gives.
func teaCall(kms *kmsclient.Client, action string, parameters members) (members, error) {
	method := reflect.ValueOf(kms).MethodByName(action)
	request := reflect.New(method.Type().In(0).Elem())
	given, err := json.Marshal(parameters)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(given, request.Interface()); err != nil {
		return nil, err
	}
	answered := method.Call([]reflect.Value{request})
	if err, failed := answered[1].Interface().(error); failed {
		return nil, teaRefused(err)
	}
	return shown(answered[0].Elem().FieldByName("Body").Interface())
}

func teaRefused(err error) error {
	var told *tea.SDKError
	if !errors.As(err, &told) || told.StatusCode == nil {
		return err
	}
	var data struct{ Message, RequestId string }
	if err := json.Unmarshal([]byte(tea.StringValue(told.Data)), &data); err != nil {
		return err
	}
	return &refused{tea.StringValue(told.Code), data.Message, data.RequestId, tea.IntValue(told.StatusCode)}
}

// shown are the members of an answer, as its types name them.
func shown(body any) (members, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	answer := members{}
	return answer, json.Unmarshal(text, &answer)
}
