package study

import (
	"fmt"
	"log/slog"
	"time"
)

// work counts the cells of each kind.
type work struct{ prune, evaluate, train int }

// seconds are the mean times of the finished cells of each kind, 0 where there are none.
func (s *study) seconds() (prune, evaluate, train float64) {
	var sums [3]float64
	var n [3]float64
	for _, c := range s.cells.Records {
		kind := 0
		switch {
		case c.Pruned != nil:
		case c.Quality != nil && c.Quality.Recovery == "":
			kind = 1
		case c.Quality != nil:
			kind = 2
		default:
			continue
		}
		sums[kind] += c.Seconds
		n[kind]++
	}
	for i := range sums {
		sums[i] /= max(n[i], 1)
	}
	return sums[0], sums[1], sums[2]
}

// left counts what is left to do, as far as it is known: models that are not pruned yet may
// turn out to be equal.
func (s *study) left() work {
	var w work
	unknown := 0
	known := map[string]bool{}
	trained := map[string]bool{}
	add := func(m Description, seed uint64) {
		if !known[m.ID] && s.quality(m.ID, "", 0) == nil {
			w.evaluate++
		}
		known[m.ID] = true
		if key := fmt.Sprint(m.ID, seed); s.Recover && !trained[key] {
			trained[key] = true
			if s.quality(m.ID, s.recipe, seed) == nil {
				w.train++
			}
		}
	}
	add(s.dense, s.Seed)
	for _, seed := range s.seeds() {
		for _, r := range s.Rows {
			if len(r.Models) > 0 {
				continue
			}
			first := seed
			if !dependsOnSeed(r.Prune) {
				first = s.Seed
			}
			for _, t := range s.Targets {
				if p := s.pruned(r.Name, first, t); p != nil {
					add(p.Description, seed)
					continue
				}
				if first == seed {
					w.prune++
				}
				unknown++
			}
		}
	}
	for _, m := range s.models { // those that were given
		add(m.Description, m.Seed)
	}
	w.evaluate += unknown
	if s.Recover {
		w.train += unknown
	}
	return w
}

// logCell reports a finished cell and the time that the others will take.
func (s *study) logCell(c cell) {
	what := "latency measured"
	switch {
	case c.Pruned != nil:
		what = fmt.Sprintf("pruned %s to %.4f", c.Pruned.Row, c.Pruned.Compression)
	case c.Quality != nil && c.Quality.Recovery != "":
		what = "recovered and evaluated " + s.nameOf(c.Quality.ID)
	case c.Quality != nil:
		what = "evaluated " + s.nameOf(c.Quality.ID)
	}
	args := []any{"seconds", fmt.Sprintf("%.1f", c.Seconds)}
	if q := c.Quality; q != nil {
		if q.Perplexity != nil {
			args = append(args, "perplexity", fmt.Sprintf("%.3f", q.Perplexity.PPL))
		}
		if q.KL != nil {
			args = append(args, "kl", fmt.Sprintf("%.4f", q.KL.Mean))
		}
		if q.Average != nil {
			args = append(args, "average", fmt.Sprintf("%.2f %%", 100*q.Average.Norm))
		}
	}
	w := s.left()
	prune, evaluate, train := s.seconds()
	left := float64(w.prune)*prune + float64(w.evaluate)*evaluate + float64(w.train)*train
	args = append(args, "cells_left", w.prune+w.evaluate+w.train, "time_left", time.Duration(left*1e9).Round(time.Second))
	slog.Info(what, args...)
}

// nameOf is the label of the first model with an identity.
func (s *study) nameOf(id string) string {
	for _, m := range append([]instance{s.denseInstance()}, s.models...) {
		if m.ID == id {
			return m.label()
		}
	}
	return id
}
