// Package served starts servers for the tests of this module.
package served

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"mop/runtime/device/cpu"
	"mop/runtime/engine"
	"mop/runtime/server"
)

// Model is a model by its directory, relative to the repository's, and its chat template, ""
// for the checkpoint's own.
type Model struct{ Name, Dir, Template string }

// Demo is the demo's model.
func Demo(name string) Model { return Model{name, "bench/demo/model", "llama-2"} }

// Start serves models and gives the server's address.
func Start(t *testing.T, key string, models ...Model) string {
	t.Helper()
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	var loaded []*server.Model
	for _, m := range models {
		one, err := server.Load(dev, server.Spec{Name: m.Name, Dir: filepath.Join("../../../..", m.Dir), Chat: m.Template, Engine: engine.Options{MaxBatch: 2}})
		if err != nil {
			t.Fatal(err)
		}
		loaded = append(loaded, one)
	}
	s := server.New(server.Options{APIKey: key})
	s.SetModels(loaded...)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.RunEngines(ctx, loaded...) }()
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		web.Close()
		stop()
		<-ended
		for _, m := range loaded {
			m.Close()
		}
		dev.Close()
	})
	return web.URL
}
