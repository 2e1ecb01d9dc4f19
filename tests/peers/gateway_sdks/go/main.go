// The SDKs for Go: sdks HOST:PORT FOLDER SDK
//
// The SDK is `core`, the one before the present; or the present one's signature
// algorithm: ACS3-HMAC-SHA256, its default, or v2, its name for HMAC-SHA1.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
)

func main() {
	endpoint, folder, sdk := os.Args[1], os.Args[2], os.Args[3]
	travel := &roundTrip{folder: folder}
	if sdk == "core" {
		travel.client = coreClient(endpoint)
		fmt.Printf("peer %s (Go)\n", version("github.com/aliyun/alibaba-cloud-sdk-go"))
	} else {
		travel.client = teaClient(endpoint, sdk)
		fmt.Printf("peer %s (%s, Go)\n", version("github.com/alibabacloud-go/kms-20160120/v3"), sdk)
	}
	travel.travel()
}

func version(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == path {
			return path + " " + module.Version
		}
	}
	return path
}
