package server

import (
	"strings"
	"testing"

	"mop/runtime/engine"
)

// With a cache of prefixes, requests that begin with the same text answer as without it, and
// the metrics say how many tokens were found.
func TestPrefixCache(t *testing.T) {
	r := start(t, Options{APIKey: "sk-test"}, engine.Options{Prefixes: 2, StepTokens: 256})
	plain := start(t, Options{}, engine.Options{StepTokens: 256})
	story := strings.Repeat("Once upon a time there was a girl. ", 30)
	for i, end := range []string{"She", "He", "She"} {
		body := marshal(t, object{"prompt": story + end, "max_tokens": 12, "temperature": 0})
		if want, got := plain.complete(body).Choices[0].Text, r.complete(body).Choices[0].Text; got != want {
			t.Errorf("request %d: want %q, got %q", i, want, got)
		}
	}
	r.idle()
	if s := r.model.Engine.Stats(); s.PrefixHits != 2*256 {
		t.Errorf("want 256 tokens found twice, got %+v", s)
	}
	_, data := r.get("/metrics")
	for _, line := range []string{"mop_prefix_cache_hits_total{model_name=\"demo\"} 512\n", "mop_kv_cache_usage_perc{model_name=\"demo\"} 0\n"} {
		if !strings.Contains(string(data), line) {
			t.Errorf("want %q in the metrics", line)
		}
	}
}
