package server

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mop/runtime/device"
	"mop/runtime/engine"
)

// checklist names the tests of every fault that users of other servers have reported, and of
// every rule of the server's security.
var checklist = []struct {
	what  string
	tests []string
}{
	// Faults of other servers.
	{"the last part of a stream has no finish_reason", []string{"TestChat", "TestCompletionIsTheSameInEveryForm"}},
	{"logprobs: true without top_logprobs is refused", []string{"TestChat"}},
	{"echo, logprobs and stop together crash", []string{"TestEchoLogprobs"}},
	{"a disconnect does not stop the generation", []string{"TestDisconnect", "TestSoak"}},
	{"the disconnect of a queued client cancels another's request", []string{"TestDisconnect"}},
	{"n of a million takes all memory before the queue", []string{"TestRefusedFields", "TestCaps"}},
	{"negative, huge, string and null numbers crash", []string{"TestRefusedFields", "FuzzFields"}},
	{"half of a stop string that spans tokens is sent", []string{"TestStopSpansTokens"}},
	{"half of a character that spans tokens is sent", []string{"TestCharacterSpansTokens"}},
	{"a huge header", []string{"TestLargeAndSlowRequests"}},
	{"a slow reader holds a slot for ever", []string{"TestSlowReader", "TestSoak"}},
	{"an endpoint outside of /v1 needs no key", []string{"TestEveryEndpointNeedsTheKey"}},
	{"a chat template reads files or never ends", []string{"TestHostileTemplate"}},

	// Security.
	{"only loopback addresses without a key", []string{"TestCheckAddress", "TestServeRefuses"}},
	{"the key is compared over hashes in constant time", []string{"TestEveryEndpointNeedsTheKey", "TestKeysOfAnyLength"}},
	{"deadlines and limits of connections, headers and bodies", []string{"TestLimits", "TestLargeAndSlowRequests", "TestEndlessBody", "TestSlowReader", "TestBadImages"}},
	{"one JSON value, nothing behind it, no deep nesting", []string{"TestRefusedFields", "FuzzFields"}},
	{"caps of n, best_of, stop, logit_bias, top_logprobs and prompts", []string{"TestCaps", "TestRefusedFields"}},
	{"Host and Origin without a key, no CORS", []string{"TestHostAndOrigin"}},
	{"everything is checked before the first byte of an answer", []string{"TestCaps"}},
	{"the goroutine of a request does not use the device", []string{"TestRequestsLeaveTheDeviceAlone"}},
	{"a panic is one 500, and the engine lives", []string{"TestPanicIsOne500", "TestPanicInAStepIsA500", "TestPanicInAStep"}},
	{"a lost device turns /health to 503 and ends the process with a status of its own", []string{"TestHealthOfALostDevice", "TestLostDeviceEndsTheServer", "TestLostDevice", "TestServeStatusOfALostDevice"}},
	{"a full queue is 429 with Retry-After", []string{"TestQueueFull"}},
	{"a schema that is hard to follow does not delay others", []string{"TestHardGrammarsDelayNoOthers", "TestFormatErrorsNameTheField"}},
	{"nothing is left behind", []string{"TestSoak", "TestSoakFindsLeaks"}},
	{"an accepted request never lacks pages", []string{"TestRandomArrivals", "TestSchedulerProperties"}},
	{"logs hold neither prompts nor keys", []string{"TestLogsHoldNoContent"}},
	{"SIGTERM lets requests finish, and the exit status is 0", []string{"TestStopFinishesWhatRuns", "TestServeFinishesOnSIGTERM"}},
	{"pictures are not fetched, and are checked before they are decoded", []string{"TestBadImages"}},
}

// Every test of the checklist exists.
func TestChecklist(t *testing.T) {
	exist := map[string]bool{}
	for _, dir := range []string{".", "../engine", "../../cmd/mop"} {
		paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, data, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					exist[f.Name.Name] = true
				}
			}
		}
	}
	for _, c := range checklist {
		for _, name := range c.tests {
			if !exist[name] {
				t.Errorf("%s: there is no test %s", c.what, name)
			}
		}
	}
}

// A request may ask for as much as the caps allow, and for no more, also as a stream, whose
// first byte is sent only when all of it was checked.
func TestCaps(t *testing.T) {
	r := start(t, Options{}, engine.Options{QueueLimit: 600})
	list := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	bias := func(n int) string {
		entries := make([]string, n)
		for i := range entries {
			entries[i] = fmt.Sprintf(`"%d":0`, i)
		}
		return "{" + strings.Join(entries, ",") + "}"
	}
	for _, c := range []struct{ field, path, most, above string }{
		{"n", "/v1/completions", `"prompt":"a","n":8`, `"prompt":"a","n":9`},
		{"best_of", "/v1/completions", `"prompt":"a","n":8,"best_of":8`, `"prompt":"a","n":8,"best_of":9`},
		{"stop", "/v1/completions", `"prompt":"a","stop":` + list(4, `"`+strings.Repeat("z", 256)+`"`), `"prompt":"a","stop":` + list(5, `"zz"`)},
		{"stop", "/v1/completions", `"prompt":"a","stop":"z"`, `"prompt":"a","stop":"` + strings.Repeat("z", 257) + `"`},
		{"logit_bias", "/v1/completions", `"prompt":"a","logit_bias":` + bias(300), `"prompt":"a","logit_bias":` + bias(301)},
		{"logprobs", "/v1/completions", `"prompt":"a","logprobs":20`, `"prompt":"a","logprobs":21`},
		{"prompt", "/v1/completions", `"prompt":` + list(64, `"a"`), `"prompt":` + list(65, `"a"`)},
		{"top_logprobs", "/v1/chat/completions", `"messages":[{"role":"user","content":"a"}],"logprobs":true,"top_logprobs":20`, `"messages":[{"role":"user","content":"a"}],"logprobs":true,"top_logprobs":21`},
		{"n", "/v1/chat/completions", `"messages":[{"role":"user","content":"a"}],"n":8`, `"messages":[{"role":"user","content":"a"}],"n":9`},
	} {
		if status, data := r.post(c.path, `{`+c.most+`,"max_tokens":1}`); status != 200 {
			t.Errorf("%s, as much as is allowed: got %d: %.200s", c.field, status, data)
		}
		for _, stream := range []string{"", `,"stream":true`} {
			if _, param := r.refused(c.path, `{`+c.above+`,"max_tokens":1`+stream+`}`, 400); param != c.field {
				t.Errorf("%s, more than is allowed: got the field %q", c.field, param)
			}
		}
	}
	r.idle()
}

// The default limits of the server.
func TestLimits(t *testing.T) {
	s := New(Options{})
	web := s.web()
	for what, c := range map[string]struct{ want, got time.Duration }{
		"header":     {5 * time.Second, web.ReadHeaderTimeout},
		"request":    {30 * time.Second, web.ReadTimeout},
		"idle":       {60 * time.Second, web.IdleTimeout},
		"each write": {30 * time.Second, s.o.WriteTimeout},
	} {
		if c.got != c.want {
			t.Errorf("time for %s: want %v, got %v", what, c.want, c.got)
		}
	}
	if web.MaxHeaderBytes != 64<<10 || s.o.MaxBody != 4<<20 || s.o.MaxImageBody != 20<<20 {
		t.Errorf("got limits of %d, %d and %d bytes", web.MaxHeaderBytes, s.o.MaxBody, s.o.MaxImageBody)
	}
}

// Keys of any length are compared, and none is not the empty one.
func TestKeysOfAnyLength(t *testing.T) {
	for _, c := range []struct {
		key, header string
		want        bool
	}{
		{"sk", "Bearer sk", true}, {"sk", "Bearer s", false}, {"sk", "Bearer skk", false}, {"sk", "Bearer ", false}, {"sk", "", false}, {"sk", "sk", false},
		{"sk", "Bearer " + strings.Repeat("s", 60000), false}, {"sk", "bearer sk", false},
	} {
		r, err := http.NewRequest("GET", "/v1/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", c.header)
		if got := newKeyCheck(c.key).allows(r); got != c.want {
			t.Errorf("%.20q: want %t, got %t", c.header, c.want, got)
		}
	}
}

// countingDevice counts the operations that a model begins with.
type countingDevice struct {
	device.Device
	operations atomic.Int32
}

func (d *countingDevice) Embed(x device.Buffer, table device.Weight, tokens []int) {
	d.operations.Add(1)
	d.Device.Embed(x, table, tokens)
}

func (d *countingDevice) Linear(phase device.Phase, y, x device.Buffer, n int, w device.Weight) {
	d.operations.Add(1)
	d.Device.Linear(phase, y, x, n, w)
}

// While the engine does not step, requests of all kinds wait, and the device has nothing to do.
func TestRequestsLeaveTheDeviceAlone(t *testing.T) {
	d := &countingDevice{Device: devOf(t)}
	m, err := Load(d, Spec{Name: "demo", Dir: demoDir, Chat: chatTemplate, Engine: engine.Options{MaxBatch: 2}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := New(Options{})
	s.SetModels(m)
	before := d.operations.Load()
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan int)
	bodies := map[string]string{
		"/v1/completions":      `{"prompt":"a","echo":true,"logprobs":2,"stream":true}`,
		"/v1/chat/completions": `{"messages":[{"role":"user","content":"a"}]}`,
		"/v1/messages":         `{"messages":[{"role":"user","content":"a"}],"max_tokens":4}`,
		"/v1/responses":        `{"input":"a"}`,
	}
	for path, body := range bodies {
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "POST", "http://localhost"+path, strings.NewReader(body))
			w := newQuietWriter()
			s.Handler().ServeHTTP(w, req)
			answered <- w.status
		}()
	}
	r := &running{t: t, model: m, server: s}
	r.until("all wait", func() bool { return m.Engine.Stats().Waiting == len(bodies) })
	leave()
	for range bodies {
		<-answered
	}
	if n := d.operations.Load() - before; n != 0 {
		t.Errorf("want nothing computed, got %d operations", n)
	}
}

// quietWriter discards an answer.
type quietWriter struct {
	header http.Header
	status int
}

func newQuietWriter() *quietWriter                      { return &quietWriter{header: http.Header{}} }
func (w *quietWriter) Header() http.Header              { return w.header }
func (w *quietWriter) WriteHeader(status int)           { w.status = status }
func (w *quietWriter) Write(b []byte) (int, error)      { return len(b), nil }
func (w *quietWriter) Flush()                           {}
func (w *quietWriter) SetReadDeadline(time.Time) error  { return nil }
func (w *quietWriter) SetWriteDeadline(time.Time) error { return nil }
