// Verifies a signed note, or signs a text, with golang.org/x/mod/sumdb/note.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"os"

	"golang.org/x/mod/sumdb/note"
)

// note open VKEY: prints the text of the note on standard input, if this key signed it.
// note sign NAME: signs the text on standard input with a new key of this name; prints the
// verifier key, a line feed, and the note.
func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: note open VKEY | note sign NAME")
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	switch os.Args[1] {
	case "open":
		open(input, os.Args[2])
	case "sign":
		sign(input, os.Args[2])
	default:
		log.Fatal("usage: note open VKEY | note sign NAME")
	}
}

func open(signed []byte, vkey string) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		log.Fatal(err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(opened.Text)
}

func sign(text []byte, name string) {
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		log.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, signer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n%s", vkey, signed)
}
