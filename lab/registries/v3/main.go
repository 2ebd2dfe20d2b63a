// Distribution 3's registry with its drivers for Azure and Google Cloud Storage.
package main

import (
	"context"
	"net/http"
	"os"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/azure"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/gcs"
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
