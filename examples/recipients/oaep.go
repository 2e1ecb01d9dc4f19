// Opens an RSAES_OAEP_SHA_256 export, by Go alone:
//
//	go run oaep.go PRIVATE.pem EXPORTED >DATA_KEY
package main

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
)

func main() {
	armoured, exported := must(os.ReadFile(os.Args[1])), must(os.ReadFile(os.Args[2]))
	block, _ := pem.Decode(armoured)
	recipient := must(x509.ParsePKCS8PrivateKey(block.Bytes)).(*rsa.PrivateKey)
	os.Stdout.Write(must(rsa.DecryptOAEP(sha256.New(), nil, recipient, exported, nil)))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
