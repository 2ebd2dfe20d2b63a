// fake-gcs-server, an emulator of Google Cloud Storage: on loopback, in memory, behind the names that Google has.
package main

import (
	"os"
	"strconv"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// main serves at the port that comes first, with the buckets that follow.
func main() {
	port, err := strconv.ParseUint(os.Args[1], 10, 16)
	if err != nil {
		panic(err)
	}
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		Scheme:      "http",
		Host:        "127.0.0.1",
		Port:        uint16(port),
		ExternalURL: "https://www.googleapis.com",
		PublicHost:  "storage.googleapis.com",
		Writer:      os.Stderr,
	})
	if err != nil {
		panic(err)
	}
	for _, bucket := range os.Args[2:] {
		server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	}
	select {}
}
