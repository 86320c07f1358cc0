package server

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"mop/runtime/engine"
)

// soak is how long TestSoak runs; make nightly gives it ten minutes.
var soak = flag.Duration("soak", 2*time.Second, "time that TestSoak takes")

// Clients that disconnect, cancel, send malformed bodies and read slowly leave nothing behind:
// free pages, goroutines and file descriptors are in the end as in the beginning, and the
// tokens of their neighbours do not change.
func TestSoak(t *testing.T) {
	r := start(t, Options{WriteTimeout: 200 * time.Millisecond, HeaderTimeout: 200 * time.Millisecond, ReadTimeout: 400 * time.Millisecond}, engine.Options{MaxBatch: 4, QueueLimit: 64})
	want := r.complete(greedy + `}`).Choices[0].Text
	r.idle()
	http.DefaultClient.CloseIdleConnections()
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	ctx, stop := context.WithTimeout(t.Context(), *soak)
	defer stop()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			for ctx.Err() == nil {
				r.annoy(ctx, random)
			}
		})
	}
	neighbours := 0
	for ctx.Err() == nil {
		if status, data := r.post("/v1/completions", greedy+`}`); status == 200 {
			if got := decode[completion](t, data).Choices[0].Text; got != want {
				t.Errorf("want %q, got %q", want, got)
			}
			neighbours++
		} else if status != 429 {
			t.Errorf("status %d: %s", status, data)
		}
	}
	wg.Wait()
	r.idle()
	r.until("all goroutines and descriptors are free", func() bool {
		http.DefaultClient.CloseIdleConnections()
		return runtime.NumGoroutine() <= goroutines && openDescriptors() <= descriptors
	})
	t.Log(neighbours, "requests were answered beside the others")
}

// annoy is one client that behaves badly.
func (r *running) annoy(ctx context.Context, random *rand.Rand) {
	body := fmt.Sprintf(`{"prompt":"Once","max_tokens":%d,"ignore_eos":true,"stream":%t,"n":%d}`, 1+random.IntN(200), random.IntN(2) == 0, 1+random.IntN(3))
	switch random.IntN(4) {
	case 0: // cut anywhere, or garbage within
		b := []byte(body)
		if b = b[:random.IntN(len(b))]; len(b) > 0 && random.IntN(2) == 0 {
			b[random.IntN(len(b))] = byte(random.IntN(256))
		}
		body = string(b)
		fallthrough
	case 1: // leaves at any time
		leave, cancel := context.WithTimeout(ctx, time.Duration(random.IntN(100))*time.Millisecond)
		defer cancel()
		req, err := http.NewRequestWithContext(leave, "POST", r.url+"/v1/completions", strings.NewReader(body))
		if err != nil {
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	default: // sends slowly, or does not read
		c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			return
		}
		defer c.Close()
		text := fmt.Sprintf("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		io.WriteString(c, text[:random.IntN(len(text)+1)])
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
	}
}

// openDescriptors is the number of open files and connections, 0 where the system does not say.
func openDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
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
