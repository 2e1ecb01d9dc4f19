// What a recipient in Go needs to verify receipts. `scripts/peers` builds examples/receipts/go_jose.go in this module.
module keyferry/interop/receipts

go 1.26

require github.com/go-jose/go-jose/v4 v4.1.9
