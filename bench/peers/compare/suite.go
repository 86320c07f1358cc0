package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// Suite is what is measured against what: one JSON file.
type Suite struct {
	Note       string       `json:"note"` // printed above the results
	Comparison []Comparison `json:"comparisons"`
}

// Comparison is a set of commands that take turns.
type Comparison struct {
	Name   string  `json:"name"`
	Sides  []Side  `json:"sides"`
	Ratios []Ratio `json:"ratios"`
	Goals  []Goal  `json:"goals"` // on what one side says of itself
}

// Side is one command. ${NAME} in it stands for what the caller sets, so that no
// path of a machine gets into the results.
type Side struct {
	Label   string   `json:"label"`
	Command []string `json:"command"`
	// Reads is how its output is read: "llama-bench" (JSON lines of one test;
	// tokens a second) or "mop" (JSON of mop bench).
	Reads string `json:"reads"`
	Field string `json:"field"` // of mop's row: "decode_tps", "prefill_tps"
	Row   int    `json:"row"`   // of mop's rows
}

// Ratio is side Of's figure over side To's, pair by pair.
type Ratio struct {
	Of   string  `json:"of"`
	To   string  `json:"to"`
	Goal float64 `json:"goal"` // 0 = none
}

// Goal is a field of a mop side's row that wants to reach a value.
type Goal struct {
	Of    string  `json:"of"`
	Field string  `json:"field"`
	Goal  float64 `json:"goal"` // 0 = none
}

// loadSuite reads and checks a suite.
func loadSuite(file string) (*Suite, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &Suite{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, c := range s.Comparison {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, c.Name, err)
		}
	}
	return s, nil
}

func (c Comparison) check() error {
	for i, s := range c.Sides {
		if len(s.Command) == 0 || s.Label == "" || c.side(s.Label) != i {
			return fmt.Errorf("side %d: want a label of its own and a command", i)
		}
		if s.Reads != "mop" && s.Reads != "llama-bench" {
			return fmt.Errorf("%s: reads: want mop or llama-bench, got %q", s.Label, s.Reads)
		}
		if (s.Reads == "mop") != (s.Field != "") {
			return fmt.Errorf("%s: field: mop's rows want one, llama-bench's none, got %q", s.Label, s.Field)
		}
	}
	for _, r := range c.Ratios {
		if c.side(r.Of) < 0 || c.side(r.To) < 0 {
			return fmt.Errorf("ratio %s / %s: no such sides", r.Of, r.To)
		}
	}
	for _, g := range c.Goals {
		if i := c.side(g.Of); i < 0 || c.Sides[i].Reads != "mop" {
			return fmt.Errorf("goal on %s: no such side of mop", g.Of)
		}
	}
	return nil
}

// side is the index of the side of that label, -1 = none.
func (c Comparison) side(label string) int {
	return slices.IndexFunc(c.Sides, func(s Side) bool { return s.Label == label })
}
