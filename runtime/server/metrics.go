package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mop/runtime/engine"
)

// metrics are what /metrics shows, under the names of vLLM with the prefix mop_.
type metrics struct {
	registry *prometheus.Registry
	handler  http.Handler

	finished                                     *prometheus.CounterVec
	ttft, interval, latency, queue, fill, decode *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	histogram := func(name, help string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "mop", Name: name, Help: help, Buckets: prometheus.ExponentialBucketsRange(0.001, 120, 24)}, []string{"model_name"})
		m.registry.MustRegister(h)
		return h
	}
	m.finished = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "mop", Name: "request_success_total", Help: "Sequences that ended, by reason."}, []string{"model_name", "finished_reason"})
	m.registry.MustRegister(m.finished, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.ttft = histogram("time_to_first_token_seconds", "Time from a sequence's arrival to its first token.")
	m.interval = histogram("inter_token_latency_seconds", "Time between two tokens of a sequence.")
	m.latency = histogram("e2e_request_latency_seconds", "Time from a sequence's arrival to its end.")
	m.queue = histogram("request_queue_time_seconds", "Time that a sequence waited in the queue.")
	m.fill = histogram("request_prefill_time_seconds", "Time from a sequence's start to its first token.")
	m.decode = histogram("request_decode_time_seconds", "Time from a sequence's first token to its last one.")
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// add registers the figures that a model's engine keeps itself.
func (m *metrics) add(model *Model) {
	labels := prometheus.Labels{"model_name": model.Name}
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "mop", Name: name, Help: help, ConstLabels: labels}, value))
	}
	counter := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "mop", Name: name, Help: help, ConstLabels: labels}, value))
	}
	e := model.Engine
	gauge("num_requests_running", "Sequences in the batch.", func() float64 { return float64(e.Stats().Running) })
	gauge("num_requests_waiting", "Sequences in the queue.", func() float64 { return float64(e.Stats().Waiting) })
	gauge("kv_cache_usage_perc", "Share of the KV cache's pages that sequences have reserved, 1 = all.", func() float64 {
		s := e.Stats()
		return float64(s.PagesUsed) / float64(max(s.Pages, 1))
	})
	counter("prompt_tokens_total", "Tokens of prompts that were computed.", func() float64 { return float64(e.Stats().PromptTokens) })
	counter("generation_tokens_total", "Tokens that were generated.", func() float64 { return float64(e.Stats().GeneratedTokens) })
	if model.drafted {
		counter("spec_decode_num_drafts_total", "Steps with tokens that the draft proposed.", func() float64 { return float64(e.Stats().DraftSteps) })
		counter("spec_decode_num_draft_tokens_total", "Tokens that the draft proposed.", func() float64 { return float64(e.Stats().Drafted) })
		counter("spec_decode_num_accepted_tokens_total", "Proposed tokens that the model accepted.", func() float64 { return float64(e.Stats().Accepted) })
		gauge("spec_decode_draft_acceptance_rate", "Share of the proposed tokens that the model accepted, 0 where there were none.", func() float64 {
			s := e.Stats()
			return float64(s.Accepted) / float64(max(s.Drafted, 1))
		})
	}
	counter("prefix_cache_queries_total", "Tokens of the prompts that were looked up in the cache of prefixes.", func() float64 { return float64(e.Stats().PrefixQueries) })
	counter("prefix_cache_hits_total", "Tokens of prompts that were found and not computed again.", func() float64 { return float64(e.Stats().PrefixHits) })
	counter("steps_total", "Steps of the engine.", func() float64 { return float64(e.Stats().Steps) })
}

// count adds a choice that has ended.
func (m *metrics) count(c *choice) {
	name := c.model.Name
	reason := c.finish
	switch {
	case reason != "":
	case c.result.Finish() == engine.FinishError:
		reason = string(engine.FinishError)
	default:
		reason = "abort"
	}
	m.finished.WithLabelValues(name, reason).Inc()
	at := c.result.Timing()
	observe := func(h *prometheus.HistogramVec, from, to time.Time) {
		if !from.IsZero() && !to.IsZero() {
			h.WithLabelValues(name).Observe(to.Sub(from).Seconds())
		}
	}
	observe(m.queue, at.Arrived, at.Started)
	observe(m.ttft, at.Arrived, c.first)
	observe(m.fill, at.Started, c.first)
	if c.finish != "" {
		end := c.last
		if end.IsZero() {
			end = at.Finished
		}
		observe(m.decode, c.first, c.last)
		observe(m.latency, at.Arrived, end)
	}
	for _, d := range c.intervals {
		m.interval.WithLabelValues(name).Observe(d.Seconds())
	}
}
