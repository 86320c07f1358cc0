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
