// Package report writes what was measured: tables for people (Markdown) and for programs
// (CSV, JSON, JSON lines), and a directory with both, the raw samples, and plots. The
// same rows give the same bytes.
package report

import (
	"errors"
	"fmt"
	"math"

	"mop/bench/latency"
	"mop/runtime/config"
)

// Entry is one model of a report. The first entry is the dense model.
type Entry struct {
	latency.Row

	// Series names the way in which the model was made ("MoP", "depth only").
	// Plots connect the entries of a series, beginning with the dense model.
	Series string   `json:"series,omitempty"`
	PPL    *float64 `json:"ppl,omitempty"` // perplexity, where it was evaluated
	Layers []Layer  `json:"layers,omitempty"`
}

// Layer is one decoder layer of a model.
type Layer struct {
	From    int `json:"from"` // index in the dense model
	Heads   int `json:"heads"`
	KVHeads int `json:"kv_heads"`
	MLP     int `json:"mlp"`
}

// Entries makes an entry of every row.
func Entries(rows []latency.Row) []Entry {
	entries := make([]Entry, len(rows))
	for i, r := range rows {
		entries[i].Row = r
	}
	return entries
}

// Layers combines shapes with the layers' indices in the dense model. from may be nil if
// no layer was removed before one that was kept.
func Layers(shapes []config.LayerShape, from []int) ([]Layer, error) {
	if from != nil && len(from) != len(shapes) {
		return nil, fmt.Errorf("report: want the indices of %d layers, got %d", len(shapes), len(from))
	}
	layers := make([]Layer, len(shapes))
	for i, s := range shapes {
		layers[i] = Layer{From: i, Heads: s.Heads, KVHeads: s.KVHeads, MLP: s.Intermediate}
		if from != nil {
			layers[i].From = from[i]
		}
	}
	return layers, nil
}

// maxLayers limits the size of a plot.
const maxLayers = 4096

// check returns an error for values that no table or plot can show.
func check(entries []Entry) error {
	if len(entries) == 0 {
		return errors.New("report: no rows")
	}
	finite := func(values ...*float64) bool {
		for _, v := range values {
			if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
				return false
			}
		}
		return true
	}
	for _, e := range entries {
		if !finite(&e.Compression, &e.E2E.Median, e.E2E.SD, &e.Speedup.Median, e.Speedup.Lo, e.Speedup.Hi, &e.Gain) || e.Compression >= 1 {
			return fmt.Errorf("report: %s: want finite numbers and a compression below 1, got compression %v, latency %v ms, speed-up %v",
				e.Model, e.Compression, e.E2E.Median, e.Speedup.Median)
		}
		if !finite(e.PPL) || (e.PPL != nil && *e.PPL <= 0) {
			return fmt.Errorf("report: %s: want a positive perplexity, got %v", e.Model, *e.PPL)
		}
		for _, l := range e.Layers {
			if l.From < 0 || l.From >= maxLayers || l.Heads < 0 || l.MLP < 0 {
				return fmt.Errorf("report: %s: no such layer: from %d, %d heads, %d neurons", e.Model, l.From, l.Heads, l.MLP)
			}
		}
	}
	return nil
}
