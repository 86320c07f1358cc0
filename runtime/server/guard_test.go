package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mop/runtime/engine"
)

// A loopback address needs no key; any other address does.
func TestCheckAddress(t *testing.T) {
	for host, fine := range map[string]bool{"127.0.0.1": true, "::1": true, "localhost": true, "127.9.9.9": true, "0.0.0.0": false, "": false, "::": false, "192.168.0.1": false, "example.com": false} {
		if err := CheckAddress(host, ""); (err == nil) != fine {
			t.Errorf("host %q without a key: %v", host, err)
		}
		if err := CheckAddress(host, "secret"); err != nil {
			t.Errorf("host %q with a key: %v", host, err)
		}
	}
}

// With a key every endpoint needs it, except the page and the health check, whatever its path
// and method.
func TestEveryEndpointNeedsTheKey(t *testing.T) {
	r := start(t, Options{APIKey: "right"}, engine.Options{})
	ask := func(method, path string, header ...string) int {
		req, err := http.NewRequest(method, r.url+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	paths := []route{{method: "GET", path: "/nowhere"}, {method: "GET", path: "/v1/models/demo"}, {method: "GET", path: "/debug/pprof/"}}
	for _, e := range append(paths, r.server.endpoints()...) {
		path := strings.NewReplacer("{name...}", "demo", "{$}", "").Replace(e.path)
		if openPath(path) {
			continue
		}
		for _, header := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", "right"}, {"Authorization", "Bearer right2"}, {"Authorization", "Bearer "}, {"X-Api-Key", "wrong"}, {"Authorization", "Bearer wrong", "X-Api-Key", "right"}} {
			if got := ask(e.method, path, header...); got != 401 {
				t.Errorf("%s %s with %q: want 401, got %d", e.method, path, header, got)
			}
		}
		for _, header := range [][]string{{"Authorization", "Bearer right"}, {"X-Api-Key", "right"}} {
			if got := ask(e.method, path, header...); got == 401 || got == 403 {
				t.Errorf("%s %s with the key: got %d", e.method, path, got)
			}
		}
	}
	if got := ask("GET", "/health"); got != 200 {
		t.Errorf("/health: got %d", got)
	}
}

// The page is there without a key and uses nothing from other hosts.
func TestPage(t *testing.T) {
	r := start(t, Options{APIKey: "right"}, engine.Options{})
	for path, want := range map[string]string{"/": `<script src="page.js">`, "/page.js": "v1/chat/completions"} {
		resp, err := http.Get(r.url + path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(data), want) || strings.Contains(string(data), "://") {
			t.Errorf("%s: got %d, %v, %.100s", path, resp.StatusCode, err, data)
		}
		if !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s: got the policy %q", path, resp.Header.Get("Content-Security-Policy"))
		}
	}
}

// Without a key a page of another site cannot reach the server: neither under a name of its
// own that resolves to a loopback address, nor by a form.
func TestHostAndOrigin(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	for _, c := range []struct {
		host, origin string
		want         int
	}{
		{"", "", 200},
		{"localhost:8000", "", 200},
		{"[::1]:8000", "", 200},
		{"evil.example", "", 403},
		{"localhost.evil.example", "", 403},
		{"127.0.0.1.evil.example:80", "", 403},
		{"", "http://evil.example", 403},
		{"", "null", 403},
		{"", "http://localhost:3000", 200},
	} {
		req, err := http.NewRequest("GET", r.url+"/v1/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.host != "" {
			req.Host = c.host
		}
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("host %q, origin %q: want %d, got %d", c.host, c.origin, c.want, resp.StatusCode)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Error("want no CORS header")
		}
	}
}

// While models are loaded, the server says so.
func TestLoading(t *testing.T) {
	s := New(Options{})
	for path, want := range map[string]int{"/health": 503, "/v1/models": 503, "/metrics": 200} {
		w := httptest.NewRecorder()
		req := httptest.NewRequest("GET", "http://localhost"+path, nil)
		s.Handler().ServeHTTP(w, req)
		if w.Code != want || want == 503 && !strings.Contains(w.Body.String(), `"message":"Loading model","type":"unavailable_error"`) {
			t.Errorf("%s: got %d: %s", path, w.Code, w.Body)
		}
	}
}

// A panic in a handler is one 500, and the server lives on.
func TestPanicIsOne500(t *testing.T) {
	s := New(Options{})
	broken := true
	h := s.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken {
			panic("a secret")
		}
	}))
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/", nil))
		if want := map[bool]int{true: 500, false: 200}[broken]; w.Code != want || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("got %d: %s", w.Code, w.Body)
		}
		broken = false
	}
}

// A body that is too large, a header that is too large, and a client that never sends the
// rest are ended; the server lives on.
func TestLargeAndSlowRequests(t *testing.T) {
	r := start(t, Options{MaxBody: 10000, HeaderTimeout: 300 * time.Millisecond, ReadTimeout: 600 * time.Millisecond}, engine.Options{})
	r.refused("/v1/completions", `{"prompt":"`+strings.Repeat("a", 11000)+`"}`, 413)
	req, err := http.NewRequest("GET", r.url+"/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Large", strings.Repeat("a", 100<<10))
	if resp, err := http.DefaultClient.Do(req); err == nil {
		if resp.Body.Close(); resp.StatusCode != 431 {
			t.Errorf("a large header: got %d", resp.StatusCode)
		}
	}
	for _, part := range []string{"GET /health HT", "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, part)
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadAll(c); err != nil { // until the server closes the connection
			t.Errorf("%q: %v", part, err)
		}
		c.Close()
	}
	// An answer may take longer than a request may.
	if c := r.complete(`{"prompt":"a","max_tokens":400,"ignore_eos":true}`); c.Usage.CompletionTokens != 400 {
		t.Errorf("got %+v", c.Usage)
	}
}

// zeros is a body of a gigabyte that counts what was read of it.
type zeros struct{ left, read atomic.Int64 }

func (z *zeros) Read(b []byte) (int, error) {
	n := min(int64(len(b)), z.left.Load())
	if z.left.Add(-n); n == 0 {
		return 0, io.EOF
	}
	clear(b[:n])
	z.read.Add(n)
	return int(n), nil
}

// A body of a gigabyte is refused, whether its length is known or not, and most of it is not read.
func TestEndlessBody(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	for path := range map[string]bool{"/v1/completions": true, "/v1/chat/completions": true, "/v1/responses": true, "/v1/messages": true, "/tokenize": true, "/detokenize": true} {
		for _, length := range []int64{1 << 30, -1} {
			body := &zeros{}
			body.left.Store(1 << 30)
			req, err := http.NewRequest("POST", r.url+path, body)
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = length
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			data, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if r.errorOf(data); resp.StatusCode != 413 || body.read.Load() > 64<<20 {
				t.Errorf("%s, length %d: want 413 soon, got %d after %d bytes", path, length, resp.StatusCode, body.read.Load())
			}
		}
	}
	r.complete(greedy + `}`)
}

// Logs hold ids and counts, never prompts, answers or keys.
func TestLogsHoldNoContent(t *testing.T) {
	var log lockedBuffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := start(t, Options{APIKey: "topsecretkey", Logger: logger}, engine.Options{})
	c := r.complete(`{"prompt":"Once upon a time","max_tokens":20,"temperature":0}`)
	r.refused("/v1/completions", `{"prompt":"Once upon a time","stop":7}`, 400)
	r.idle()
	r.until("the request is logged", func() bool { return strings.Contains(log.String(), "status=400") })
	for _, secret := range []string{"Once", "topsecretkey", strings.TrimSpace(c.Choices[0].Text)[:10]} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q stands in the log: %s", secret, log.String())
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// The order to stop lets what runs finish, refuses what is new, and Serve returns nil. What
// does not finish in time is canceled.
func TestStopFinishesWhatRuns(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	body := r.open(t.Context(), 300)
	r.stop()
	rest, err := io.ReadAll(body)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") || strings.Count(string(rest), "data: ") < 2 {
		t.Errorf("the stream that ran: %v, %.300s", err, rest)
	}
	err = <-r.ended
	r.ended <- err
	if err != nil {
		t.Errorf("want nil, got %v", err)
	}

	var log lockedBuffer
	r, steps := startGated(t, Options{DrainTimeout: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))}, engine.Options{})
	steps.steps <- struct{}{} // to find nothing to do
	steps.steps <- struct{}{} // for the first token
	body = r.open(t.Context(), 500)
	r.stop()
	r.until("the time is over", func() bool { return strings.Contains(log.String(), "canceling the requests") })
	steps.open()
	if rest, err := io.ReadAll(body); err != nil || strings.Contains(string(rest), "[DONE]") || !strings.Contains(string(rest), "shutting down") {
		t.Errorf("the stream that did not end in time: %v, %.300s", err, rest)
	}
	err = <-r.ended
	r.ended <- err
	if s := r.model.Engine.Stats(); err != nil || s.Running != 0 || s.PagesUsed != 0 {
		t.Errorf("got %v, %+v", err, s)
	}
}

// Two models take turns on one device; a request selects one by its name.
func TestTwoModels(t *testing.T) {
	a := start(t, Options{}, engine.Options{})
	want := a.complete(greedy + `}`).Choices[0].Text
	dev := devOf(t)
	second, err := Load(dev, Spec{Name: "other", Dir: demoDir, Engine: engine.Options{MaxBatch: 2}})
	if err != nil {
		t.Fatal(err)
	}
	third, err := Load(dev, Spec{Name: "third", Dir: demoDir, Engine: engine.Options{MaxBatch: 2}})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{})
	s.SetModels(second, third)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- RunEngines(ctx, second, third) }()
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	r := &running{t: t, url: web.URL}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			c := r.complete(fmt.Sprintf(`%s,"model":%q}`, greedy, []string{"other", "third"}[i%2]))
			if c.Choices[0].Text != want {
				t.Errorf("want %q, got %+v", want, c)
			}
		})
	}
	wg.Wait()
	if _, param := r.refused("/v1/completions", `{"prompt":"a","model":"demo"}`, 404); param != "model" {
		t.Errorf("got the field %q", param)
	}
	stop()
	<-ended
	second.Close()
	third.Close()
}
