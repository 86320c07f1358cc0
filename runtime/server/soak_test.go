package server

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mop/runtime/engine"
)

// soak is how long TestSoak runs; make nightly gives it ten minutes.
var soak = flag.Duration("soak", 2*time.Second, "time that TestSoak takes")

// Clients that disconnect, cancel, send malformed bodies and read slowly leave nothing behind:
// free pages, goroutines and file descriptors are in the end as in the beginning, and the
// tokens of their neighbours do not change. One half of the time the server has a draft, and
// keeps beginnings of prompts.
func TestSoak(t *testing.T) {
	limits := Options{WriteTimeout: 200 * time.Millisecond, HeaderTimeout: 200 * time.Millisecond, ReadTimeout: 400 * time.Millisecond}
	for name, spec := range map[string]Spec{
		"plain":              {Engine: engine.Options{MaxBatch: 4, QueueLimit: 64}},
		"draft and prefixes": {Engine: engine.Options{MaxBatch: 4, QueueLimit: 64, Prefixes: 2, StepTokens: 256}, Draft: demoDir, DraftTokens: 2},
	} {
		t.Run(name, func(t *testing.T) {
			spec.Name, spec.Dir, spec.Chat = "demo", demoDir, chatTemplate
			r := startSpec(t, limits, spec)
			r.soak(*soak / 2)
			if s := r.model.Engine.Stats(); spec.Draft != "" && (s.PrefixHits == 0 || s.Drafted == 0) {
				t.Errorf("want a draft and prefixes that were used, got %+v", s)
			}
		})
	}
}

func (r *running) soak(duration time.Duration) {
	t := r.t
	neighbours := []string{greedy + `}`, greedy + `,"stream":true}`, greedy + `,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"array","items":{"type":"integer"},"maxItems":3}}}}`,
		`{"prompt":"` + strings.Repeat("Once upon a time there was a girl. ", 30) + `","max_tokens":3,"temperature":0}`}
	var want []string
	for _, body := range neighbours {
		_, data := r.post("/v1/completions", body)
		want = append(want, textOf(data))
	}
	before := r.held()
	ctx, stop := context.WithTimeout(t.Context(), duration)
	defer stop()
	var wg sync.WaitGroup
	var clients [annoyances]atomic.Int32
	for i := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			for ctx.Err() == nil {
				clients[r.annoy(ctx, random)].Add(1)
			}
		})
	}
	answered := 0
	for i := 0; ctx.Err() == nil || answered < 2*len(neighbours); i++ {
		status, data := r.post("/v1/completions", neighbours[i%len(neighbours)])
		if status == 200 {
			if got := textOf(data); got != want[i%len(want)] {
				t.Errorf("a neighbour: want %q, got %q", want[i%len(want)], got)
			}
			answered++
		} else if status != 429 {
			t.Errorf("status %d: %s", status, data)
		}
	}
	wg.Wait()
	r.idle()
	for end := time.Now().Add(time.Minute); ; {
		left := r.held().beyond(before)
		if left == "" {
			break
		}
		if time.Now().After(end) {
			var stacks bytes.Buffer
			pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			t.Fatalf("left behind: %s\n%s", left, &stacks)
		}
	}
	for kind := range clients {
		if clients[kind].Load() == 0 {
			t.Errorf("no client was of kind %d", kind)
		}
	}
	if _, data := r.get("/metrics"); !strings.Contains(string(data), `finished_reason="abort"`) {
		t.Error("want requests that were given up")
	}
	t.Logf("%d requests were answered beside %d leaving, %d malformed, %d slow in sending, %d slow in reading", answered, clients[leaving].Load(), clients[malformed].Load(), clients[slowSender].Load(), clients[slowReader].Load())
}

// textOf joins the texts of a completion, whole or streamed.
func textOf(data []byte) (text string) {
	for part := range strings.SplitSeq(string(data), "\n\n") {
		var c completion // [DONE] is none
		if json.Unmarshal([]byte(strings.TrimPrefix(part, "data: ")), &c) == nil && len(c.Choices) > 0 {
			text += c.Choices[0].Text
		}
	}
	return text
}

// held is what a server holds.
type held struct{ goroutines, descriptors, pages int }

// held counts once no connection is about to end: it takes the least that is there in a while.
func (r *running) held() held {
	least := held{1 << 30, 1 << 30, 1 << 30}
	for range 50 {
		http.DefaultClient.CloseIdleConnections()
		time.Sleep(2 * time.Millisecond)
		least.goroutines = min(least.goroutines, runtime.NumGoroutine())
		least.descriptors = min(least.descriptors, openDescriptors(r.t))
		least.pages = min(least.pages, r.model.Engine.Stats().PagesUsed)
	}
	return least
}

// beyond says what there is more than before, "" = nothing.
func (h held) beyond(before held) string {
	if h.goroutines <= before.goroutines && h.descriptors <= before.descriptors && h.pages <= before.pages {
		return ""
	}
	return fmt.Sprintf("%+v, before %+v", h, before)
}

// openDescriptors is the number of open files and connections, 0 where the system does not say.
func openDescriptors(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		if runtime.GOOS == "linux" {
			t.Fatal(err)
		}
		return 0
	}
	return len(entries)
}

// The soak finds a goroutine, a descriptor and a page that stay.
func TestSoakFindsLeaks(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	before := r.held()
	if left := r.held().beyond(before); left != "" {
		t.Errorf("want nothing, got %s", left)
	}
	end := make(chan struct{})
	go func() { <-end }()
	if r.held().goroutines != before.goroutines+1 || r.held().beyond(before) == "" {
		t.Error("a goroutine was not found")
	}
	close(end)
	if runtime.GOOS == "linux" {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		if r.held().descriptors != before.descriptors+1 || r.held().beyond(before) == "" {
			t.Error("a descriptor was not found")
		}
		f.Close()
	}
	ctx, leave := context.WithCancel(t.Context())
	gated, steps := startGated(t, Options{}, engine.Options{})
	before = gated.held()
	answered := make(chan struct{})
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "POST", gated.url+"/v1/completions", strings.NewReader(`{"prompt":"a"}`))
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
		close(answered)
	}()
	gated.until("it waits", func() bool { return gated.model.Engine.Stats().Waiting == 1 })
	steps.steps <- struct{}{} // to find nothing to do
	steps.steps <- struct{}{}
	gated.until("it runs", func() bool { return gated.model.Engine.Stats().Running == 1 })
	if now := gated.held(); now.pages != before.pages+1 || now.beyond(before) == "" {
		t.Errorf("a page was not found: %+v, before %+v", now, before)
	}
	leave()
	steps.open()
	<-answered
	gated.idle()
	gated.until("nothing is left", func() bool { return gated.held().beyond(before) == "" })
}

// The kinds of clients that behave badly.
const (
	leaving = iota
	malformed
	slowSender
	slowReader
	annoyances
)

// annoyingRequest is a request of any endpoint.
func annoyingRequest(random *rand.Rand) (path, body string) {
	tokens, stream := 1+random.IntN(200), random.IntN(2) == 0
	prompt := `"` + strings.Repeat("Once upon a time there was a girl. ", 1+29*random.IntN(2)) + `"`
	schema := []string{`{"type":"string","pattern":"^(a?b?){150}$"}`, `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}`}[random.IntN(2)]
	switch random.IntN(6) {
	case 0:
		return "/v1/chat/completions", fmt.Sprintf(`{"messages":[{"role":"user","content":%s}],"max_tokens":%d,"stream":%t,"n":2}`, prompt, tokens, stream)
	case 1:
		return "/v1/responses", fmt.Sprintf(`{"input":%s,"max_output_tokens":%d,"stream":%t}`, prompt, tokens, stream)
	case 2:
		return "/v1/messages", fmt.Sprintf(`{"messages":[{"role":"user","content":%s}],"max_tokens":%d,"stream":%t,"stop_sequences":["the"]}`, prompt, tokens, stream)
	case 3:
		return "/v1/completions", fmt.Sprintf(`{"prompt":"a","max_tokens":%d,"stream":%t,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":%s}}}`, tokens, stream, schema)
	}
	return "/v1/completions", fmt.Sprintf(`{"prompt":%s,"max_tokens":%d,"ignore_eos":true,"temperature":%d,"stream":%t,"n":%d}`, prompt, tokens, random.IntN(2), stream, 1+random.IntN(3))
}

// annoy is one client that behaves badly. It returns its kind.
func (r *running) annoy(ctx context.Context, random *rand.Rand) (kind int) {
	path, body := annoyingRequest(random)
	switch kind = random.IntN(annoyances); kind {
	case malformed: // cut anywhere, or garbage within
		b := []byte(body)
		if b = b[:random.IntN(len(b))]; len(b) > 0 && random.IntN(2) == 0 {
			b[random.IntN(len(b))] = byte(random.IntN(256))
		}
		body = string(b)
		fallthrough
	case leaving: // at any time
		leave, cancel := context.WithTimeout(ctx, time.Duration(random.IntN(100))*time.Millisecond)
		defer cancel()
		req, err := http.NewRequestWithContext(leave, "POST", r.url+path, strings.NewReader(body))
		if err != nil {
			return kind
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return kind
	case slowReader: // of an answer that outgrows all buffers
		path, body = "/v1/completions", `{"prompt":"a","max_tokens":300,"logprobs":20,"ignore_eos":true,"stream":true}`
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		return kind
	}
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(1024)
	text := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	if kind == slowSender {
		text = text[:random.IntN(len(text))]
	}
	io.WriteString(c, text)
	time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
	return kind
}

// Any body gives an error or an object whose members can be read, and never a panic.
func FuzzFields(f *testing.F) {
	for _, seed := range []string{`{}`, `{"prompt":"a","n":2,"stop":["b"],"logit_bias":{"5":1}}`, `{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}`, `{"a":{"b":[1,null]}}`, `[`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := parseFields(data)
		if err != nil {
			return
		}
		in.integer("n", 1, 1, 8)
		in.number("temperature", 1, 0, 2)
		in.boolean("stream", false)
		readStops(in, "stop")
		readBias(in, 100)
		readMessages(in, chatContent)
		if raw, ok := in.take("tokens"); ok {
			tokens(raw, 100)
		}
		in.end()
	})
}
