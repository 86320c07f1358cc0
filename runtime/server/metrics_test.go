package server

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"mop/runtime/engine"
)

// The metrics have the names that vLLM gives them, and count what happened: two sequences that
// ended by their length, one by a stop string, one that was given up.
func TestMetrics(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	r.complete(greedy + `,"n":2}`)
	if c := r.complete(greedy + `,"stop":"there"}`); *c.Choices[0].FinishReason != "stop" {
		t.Fatalf("got %+v", c)
	}
	ctx, leave := context.WithCancel(t.Context())
	body := r.open(ctx, 500)
	leave()
	body.Close()
	var families map[string]*dto.MetricFamily
	r.idle()
	r.until("all are counted", func() bool {
		_, data := r.get("/metrics")
		parser := expfmt.NewTextParser(model.UTF8Validation)
		var err error
		if families, err = parser.TextToMetricFamilies(strings.NewReader(string(data))); err != nil {
			t.Fatal(err)
		}
		return len(families["mop_request_success_total"].GetMetric()) == 3
	})
	for _, name := range []string{"num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"} {
		if f := families["mop_"+name]; f == nil || f.GetType() != dto.MetricType_GAUGE || f.Metric[0].Label[0].GetName() != "model_name" || f.Metric[0].Label[0].GetValue() != "demo" {
			t.Errorf("%s: got %v", name, f)
		}
	}
	finished := map[string]float64{}
	for _, m := range families["mop_request_success_total"].Metric {
		for _, l := range m.Label {
			if l.GetName() == "finished_reason" {
				finished[l.GetValue()] = m.Counter.GetValue()
			}
		}
	}
	if want := map[string]float64{"length": 2, "stop": 1, "abort": 1}; !maps.Equal(finished, want) {
		t.Errorf("ends: want %v, got %v", want, finished)
	}
	stats := r.model.Engine.Stats()
	for name, want := range map[string]float64{"prompt_tokens_total": float64(stats.PromptTokens), "generation_tokens_total": float64(stats.GeneratedTokens)} {
		if f := families["mop_"+name]; f == nil || f.Metric[0].Counter.GetValue() != want || want < 20 {
			t.Errorf("%s: want %v, got %v", name, want, f)
		}
	}
	// Those that were given up have a first token, but no end.
	for name, want := range map[string][2]uint64{
		"time_to_first_token_seconds": {4, 4}, "request_queue_time_seconds": {4, 4}, "request_prefill_time_seconds": {4, 4},
		"e2e_request_latency_seconds": {3, 3}, "request_decode_time_seconds": {3, 3}, "inter_token_latency_seconds": {2 * 23, 1000},
	} {
		f := families["mop_"+name]
		if f == nil || f.GetType() != dto.MetricType_HISTOGRAM || f.Metric[0].Histogram.GetSampleCount() < want[0] || f.Metric[0].Histogram.GetSampleCount() > want[1] || f.Metric[0].Histogram.GetSampleSum() <= 0 {
			t.Errorf("%s: want %d values, got %v of %v", name, want, f, slices.Sorted(maps.Keys(families)))
		}
	}
}
