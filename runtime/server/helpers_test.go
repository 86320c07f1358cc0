package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/engine"
)

// demoDir has a small trained model with a tokenizer with byte tokens.
const demoDir = "../../bench/demo/model"

// chatTemplate is a template for models without one.
const chatTemplate = "llama-2"

// running is a server in this process with real connections.
type running struct {
	t      testing.TB
	url    string
	model  *Model
	server *Server
	stop   context.CancelFunc
	ended  chan error // receives what Serve returns
	key    string
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// start serves the demo's model.
func start(t testing.TB, o Options, e engine.Options) *running {
	t.Helper()
	return startModel(t, o, e, demoDir, chatTemplate)
}

// startModel serves a model under the name demo.
func startModel(t testing.TB, o Options, e engine.Options, dir, template string) *running {
	t.Helper()
	e.MaxBatch = orDefault(e.MaxBatch, 4)
	return startSpec(t, o, Spec{Name: "demo", Dir: dir, Engine: e, Chat: template})
}

func startSpec(t testing.TB, o Options, spec Spec) *running {
	t.Helper()
	m, err := Load(devOf(t), spec)
	if err != nil {
		t.Fatal(err)
	}
	return startLoaded(t, o, m)
}

// gate lets an engine make a number of steps, and any number once it is open.
type gate struct {
	steps chan struct{}
	once  sync.Once
}

func (g *gate) Lock()   { <-g.steps }
func (g *gate) Unlock() {}
func (g *gate) open()   { g.once.Do(func() { close(g.steps) }) }

// startGated serves the demo's model with an engine whose steps a gate lets pass.
func startGated(t testing.TB, o Options, e engine.Options) (*running, *gate) {
	t.Helper()
	steps := &gate{steps: make(chan struct{}, 100)}
	e.MaxBatch = orDefault(e.MaxBatch, 4)
	m, err := Load(devOf(t), Spec{Name: "demo", Dir: demoDir, Engine: e, Chat: chatTemplate})
	if err != nil {
		t.Fatal(err)
	}
	m.Engine.ShareDevice(steps)
	r := startLoaded(t, o, m)
	t.Cleanup(steps.open) // before that of the server
	return r, steps
}

func startLoaded(t testing.TB, o Options, m *Model) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: t, url: "http://" + l.Addr().String(), model: m, server: New(o), stop: stop, ended: make(chan error, 1), key: o.APIKey}
	go func() {
		r.ended <- r.server.Serve(ctx, smallBuffers{l}, func() ([]*Model, error) { return []*Model{m}, nil })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
		m.Close()
	})
	r.until("the server is ready", func() bool { status, _ := r.get("/health"); return status == 200 })
	return r
}

// smallBuffers is a listener whose connections hold little that a client has not read.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return c, err
}

// until waits for a condition that comes true sooner or later.
func (r *running) until(what string, is func() bool) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("it never came true that %s", what)
		}
	}
}

// idle waits until no request runs or waits and all pages are free.
func (r *running) idle() {
	r.t.Helper()
	r.until("the engine is idle", func() bool {
		s := r.model.Engine.Stats()
		return s.Running == 0 && s.Waiting == 0 && s.PagesUsed == 0
	})
}

func (r *running) do(req *http.Request) (int, []byte) {
	r.t.Helper()
	if r.key != "" && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, body
}

func (r *running) get(path string) (int, []byte) {
	r.t.Helper()
	req, err := http.NewRequest("GET", r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.do(req)
}

func (r *running) post(path, body string) (int, []byte) {
	r.t.Helper()
	req, err := http.NewRequest("POST", r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	return r.do(req)
}

// complete posts a completion that must succeed.
func (r *running) complete(body string) completion {
	r.t.Helper()
	status, data := r.post("/v1/completions", body)
	if status != 200 {
		r.t.Fatalf("%s: status %d: %s", body, status, data)
	}
	return decode[completion](r.t, data)
}

func decode[T any](t testing.TB, data []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return v
}

// refused posts a body that must be refused, and returns the error.
func (r *running) refused(path, body string, status int) (message, param string) {
	r.t.Helper()
	got, data := r.post(path, body)
	if got != status {
		r.t.Errorf("%s %.60s: want status %d, got %d: %.200s", path, body, status, got, data)
		return "", ""
	}
	return r.errorOf(data)
}

// errorOf reads an error and checks that it has all members.
func (r *running) errorOf(data []byte) (message, param string) {
	r.t.Helper()
	var e struct{ Error map[string]any }
	if err := json.Unmarshal(data, &e); err != nil {
		r.t.Errorf("the error is not JSON: %s", data)
		return "", ""
	}
	for _, key := range []string{"message", "type", "param", "code"} {
		if _, ok := e.Error[key]; !ok {
			r.t.Errorf("the error has no %s: %s", key, data)
		}
	}
	message, _ = e.Error["message"].(string)
	param, _ = e.Error["param"].(string)
	if message == "" || strings.Contains(message, "\n") {
		r.t.Errorf("want one line, got %q", message)
	}
	return message, param
}

// events reads a stream until its end. Each must be one line of data.
func events(t testing.TB, body io.Reader) (out []string) {
	t.Helper()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "event: ") {
			continue
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			t.Fatalf("want lines of data, got %q", line)
		}
		out = append(out, data)
	}
	return out
}

// stream posts a request and returns its events without the last one, which must be [DONE].
func (r *running) stream(path, body string) []string {
	r.t.Helper()
	status, data := r.post(path, body)
	if status != 200 {
		r.t.Fatalf("%s: status %d: %s", body, status, data)
	}
	all := events(r.t, bytes.NewReader(data))
	if len(all) == 0 || all[len(all)-1] != "[DONE]" {
		r.t.Fatalf("want [DONE] at the end, got %q", all)
	}
	return all[:len(all)-1]
}

// open begins a stream of many tokens and returns its body after the first event.
func (r *running) open(ctx context.Context, tokens int) io.ReadCloser {
	r.t.Helper()
	body := fmt.Sprintf(`{"prompt":"Once upon a time","max_tokens":%d,"ignore_eos":true,"stream":true}`, tokens)
	req, err := http.NewRequestWithContext(ctx, "POST", r.url+"/v1/completions", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if r.key != "" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		r.t.Fatalf("status %d", resp.StatusCode)
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		r.t.Fatal(err)
	}
	return resp.Body
}

// devOf opens the CPU for a test.
func devOf(t testing.TB) device.Device {
	t.Helper()
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}
