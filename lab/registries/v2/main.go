// Distribution 2.8's registry with the storage drivers that Debian's build of it lacks.
package main

import (
	"net/http"
	"os"

	"github.com/docker/distribution/configuration"
	"github.com/docker/distribution/context"
	"github.com/docker/distribution/registry/handlers"
	_ "github.com/docker/distribution/registry/storage/driver/azure"
	_ "github.com/docker/distribution/registry/storage/driver/oss"
)

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	config, err := configuration.Parse(file)
	if err != nil {
		panic(err)
	}
	app := handlers.NewApp(context.Background(), config)
	panic(http.ListenAndServe(config.HTTP.Addr, app))
}
