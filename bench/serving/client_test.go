package serving

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// A request on a connection that the server has closed meanwhile is sent again, not counted as
// an error.
func TestClosedConnection(t *testing.T) {
	var lock sync.Mutex
	requests, dropped := map[string]int{}, 0 // by connection
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lock.Lock()
		defer lock.Unlock()
		if requests[r.RemoteAddr]++; requests[r.RemoteAddr] == 2 {
			dropped++
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
			return
		}
		fmt.Fprint(w, "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"completion_tokens\":1}}\n\ndata: [DONE]\n\n")
	}))
	defer server.Close()
	client := server.Client()
	for i := range 4 {
		var s Sample
		if err := (Target{URL: server.URL}).stream(t.Context(), client, []byte("{}"), &s); err != nil || s.Out != 1 {
			t.Errorf("request %d: got %+v, %v", i, s, err)
		}
	}
	if dropped == 0 {
		t.Error("no connection was used twice")
	}
}

// The times of a stream are those of its parts with text: the first one, the gaps between them, and
// the last part of all.
func TestTimesOfParts(t *testing.T) {
	next := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, text := range []string{"", "a", "b", "", "c", ""} {
			<-next
			fmt.Fprintf(w, "data: {\"choices\":[{\"text\":%q}]}\n\n", text)
			http.NewResponseController(w).Flush()
		}
		fmt.Fprint(w, "data: {\"choices\":[],\"usage\":{\"completion_tokens\":4}}\n\ndata: [DONE]\n\n")
	}))
	defer server.Close()
	go func() {
		for range 6 {
			next <- struct{}{}
		}
	}()
	var s Sample
	if err := (Target{URL: server.URL}).stream(t.Context(), server.Client(), []byte("{}"), &s); err != nil {
		t.Fatal(err)
	}
	if s.Out != 4 || len(s.Gaps) != 2 || s.TTFT <= 0 || s.TTFT+s.Gaps[0]+s.Gaps[1] > s.Latency {
		t.Errorf("got %+v", s)
	}
}
