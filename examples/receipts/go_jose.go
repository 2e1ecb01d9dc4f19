// Verifies a receipt, by go-jose (github.com/go-jose/go-jose/v4):
//
//	go run go_jose.go RECEIPT EXPORTED PUBLIC.der KEYS.jwks
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

func main() {
	receipt, exported, publicKey, keys := read(1), read(2), read(3), read(4)
	var trusted struct {
		jose.JSONWebKeySet
		Issuer string `json:"kf_issuer"`
	}
	must(0, json.Unmarshal(keys, &trusted))
	algorithms := []jose.SignatureAlgorithm{jose.ES256}
	signed := must(jose.ParseSignedCompact(strings.TrimSpace(string(receipt)), algorithms))
	header := signed.Signatures[0].Protected
	found := trusted.Key(header.KeyID)
	if header.ExtraHeaders[jose.HeaderType] != "keyferry-export-receipt+jws" || len(found) != 1 {
		panic("this is no receipt by one of these keys")
	}
	var claims map[string]any
	must(0, json.Unmarshal(must(signed.Verify(found[0])), &claims))
	if claims["iss"] != trusted.Issuer || claims["exported_sha256"] != digest(exported) || claims["recipient_sha256"] != digest(publicKey) {
		panic("this is the receipt of something else")
	}
	fmt.Println(claims["iss"], "exported a key of", claims["key_id"], claims["blob_kind"], "for this public key")
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func read(argument int) []byte { return must(os.ReadFile(os.Args[argument])) }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
