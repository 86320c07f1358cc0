package prune

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// wide is a model of 240 MB, of random weights with the demo's tokenizer.
func wide(t *testing.T, dir string) *config.Config {
	t.Helper()
	c, err := config.Load(filepath.Join(demoModel, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	c.HiddenSize, c.HeadDim, c.VocabSize, c.MaxPositions = 1024, 64, 16384, 512
	c.Layers = slices.Repeat([]config.LayerShape{{Heads: 16, KVHeads: 16, HeadDim: 64, Intermediate: 2048}}, 10)
	if err := checkpoint.WriteRandom(dir, c, 1, checkpoint.BF16, checkpoint.SaveOptions{Files: checkpoint.SideFiles(demoModel)}); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestMemoryChild is the run that TestMemory starts as a child process. It prints the
// largest anonymous memory of the process in bytes.
func TestMemoryChild(t *testing.T) {
	if flag.NArg() != 4 || flag.Arg(0) != "memory" {
		t.Skip("runs in a process of its own, for TestMemory")
	}
	var most atomic.Int64
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		buffer := make([]byte, 1<<13)
		for {
			most.Store(max(most.Load(), anonymous(t, buffer)))
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	o := demoOptions(t, flag.Arg(2))
	o.Model, o.Targets, o.Prompts = flag.Arg(1), []float64{0.05}, 1
	// The text is one document, so that a window is as long as the context.
	o.Separator, o.Context, o.Width.Allocation = "", 512, flag.Arg(3)
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	close(stop)
	<-stopped
	fmt.Printf("anonymous %d\n", most.Load())
}

// anonymous is RssAnon of this process, in bytes.
func anonymous(t *testing.T, buffer []byte) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Error(err)
		return 0
	}
	defer f.Close()
	n, _ := f.Read(buffer)
	_, rest, _ := strings.Cut(string(buffer[:n]), "RssAnon:")
	var kib int64
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		t.Error(err)
	}
	return kib << 10
}

// The anonymous memory of a run stays below a quarter of the model's bytes plus one layer,
// since weights, candidates and reference states are mapped.
func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/proc/self/status is Linux's")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "model")
	c := wide(t, dir)
	model, layer := 2*c.Params(), 2*c.Layers[0].Params(c.HiddenSize)
	for _, allocation := range []string{"uniform", "global"} {
		child := exec.Command(exe, "-test.run=^TestMemoryChild$", "--", "memory", dir, filepath.Join(t.TempDir(), "out"), allocation)
		var text bytes.Buffer
		child.Stdout, child.Stderr = &text, &text
		if err := child.Run(); err != nil {
			t.Fatalf("%s: %v: %s", allocation, err, text.String())
		}
		_, rest, _ := strings.Cut(text.String(), "anonymous ")
		var most int64
		if _, err := fmt.Sscan(rest, &most); err != nil {
			t.Fatalf("%s: %v: %s", allocation, err, text.String())
		}
		t.Logf("%s: %.1f MB anonymous at most, for a model of %.1f MB with layers of %.1f MB", allocation, float64(most)/1e6, float64(model)/1e6, float64(layer)/1e6)
		if limit := model/4 + layer; most > limit {
			t.Errorf("%s: want at most %d bytes, got %d", allocation, limit, most)
		}
	}
}
