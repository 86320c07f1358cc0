package server

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"mop/runtime/device"
	"mop/runtime/engine"
)

// faultyDevice panics once, or is lost, when a test says so.
type faultyDevice struct {
	device.Device
	panics, lost atomic.Bool
}

func (d *faultyDevice) Linear(phase device.Phase, y, x device.Buffer, n int, w device.Weight) {
	if d.panics.Swap(false) {
		panic("broken kernel of a secret prompt")
	}
	d.Device.Linear(phase, y, x, n, w)
}

func (d *faultyDevice) Sync() error {
	if d.lost.Load() {
		return errors.New("the device is gone")
	}
	return d.Device.Sync()
}

// serveFaulty serves the demo's model on a device that can fail. It is the caller's to stop.
func serveFaulty(t *testing.T) (*running, *faultyDevice) {
	t.Helper()
	d := &faultyDevice{Device: devOf(t)}
	m, err := Load(d, Spec{Name: "demo", Dir: demoDir, Engine: engine.Options{MaxBatch: 2}, Chat: chatTemplate})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: t, url: "http://" + l.Addr().String(), model: m, server: New(Options{}), stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- r.server.Serve(ctx, l, func() ([]*Model, error) { return []*Model{m}, nil }) }()
	t.Cleanup(func() { m.Close() })
	r.until("the server is ready", func() bool { status, _ := r.get("/health"); return status == 200 })
	return r, d
}

// A panic in a step is a 500 for the requests in it, or an error in their streams; the server
// stays healthy and answers the next one.
func TestPanicInAStepIsA500(t *testing.T) {
	r, d := serveFaulty(t)
	want := r.complete(greedy + `}`).Choices[0].Text
	for _, path := range []string{"/v1/completions", "/v1/chat/completions", "/v1/responses"} {
		d.panics.Store(true)
		body := map[string]string{"/v1/completions": `{"prompt":"a"}`, "/v1/chat/completions": `{"messages":[{"role":"user","content":"a"}],"max_tokens":4}`, "/v1/responses": `{"input":"a","max_output_tokens":4}`}[path]
		if message, _ := r.refused(path, body, 500); message != "internal error" {
			t.Errorf("%s: got %q", path, message)
		}
	}
	d.panics.Store(true)
	if status, data := r.post("/v1/messages", `{"messages":[{"role":"user","content":"a"}],"max_tokens":4}`); status != 500 || strings.Contains(string(data), "secret") {
		t.Errorf("messages: got %d: %s", status, data)
	}
	d.panics.Store(true)
	status, data := r.post("/v1/completions", `{"prompt":"a","stream":true}`)
	if status != 200 || !strings.Contains(string(data), `"internal error"`) || strings.Contains(string(data), "secret") || strings.Contains(string(data), "[DONE]") {
		t.Errorf("a stream: got %d: %s", status, data)
	}
	if status, _ := r.get("/health"); status != 200 {
		t.Errorf("health: got %d", status)
	}
	if got := r.complete(greedy + `}`).Choices[0].Text; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
	r.idle()
	if _, data := r.get("/metrics"); !strings.Contains(string(data), `finished_reason="error"`) {
		t.Error("want the failures in the metrics")
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// A device that is lost is a 503 for the requests that run, and ends the server with its error,
// from which the program takes its exit status.
func TestLostDeviceEndsTheServer(t *testing.T) {
	r, d := serveFaulty(t)
	d.lost.Store(true)
	if message, _ := r.refused("/v1/completions", `{"prompt":"a"}`, 503); !strings.Contains(message, "device failed") {
		t.Errorf("got %q", message)
	}
	if err := <-r.ended; !errors.Is(err, engine.ErrDevice) {
		t.Errorf("want %v, got %v", engine.ErrDevice, err)
	}
}

// While a server whose device is lost still answers, it says so.
func TestHealthOfALostDevice(t *testing.T) {
	d := &faultyDevice{Device: devOf(t)}
	m, err := Load(d, Spec{Name: "demo", Dir: demoDir, Engine: engine.Options{MaxBatch: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d.lost.Store(true)
	results, err := m.Engine.Submit(engine.Request{Prompt: []int{1}, MaxTokens: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := RunEngines(t.Context(), m); !errors.Is(err, engine.ErrDevice) || results[0].Finish() != engine.FinishError {
		t.Errorf("want %v, got %v", engine.ErrDevice, err)
	}
	s := New(Options{})
	s.SetModels(m)
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	r := &running{t: t, url: web.URL}
	for path, want := range map[string]int{"/health": 503, "/v1/models": 200} {
		if status, data := r.get(path); status != want {
			t.Errorf("%s: want %d, got %d: %s", path, want, status, data)
		}
	}
	r.refused("/v1/completions", `{"prompt":"a"}`, 503)
}
