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
	Goals  []Goal  `json:"goals"` // on one side alone
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
	// PerToken names what a token costs, so that tokens a second say how near a
	// program that does not tell comes to the machine's limits: the reading gets a
	// field of that name, figure times cost.
	PerToken map[string]float64 `json:"per_token,omitempty"`
}

// Ratio is side Of's figure over side To's, pair by pair; or a field of the one
// over a field of the other, under a name that says what it means.
type Ratio struct {
	Name    string  `json:"name,omitempty"`
	Of      string  `json:"of"`
	Field   string  `json:"field,omitempty"` // "" = the side's own figure
	To      string  `json:"to"`
	ToField string  `json:"to_field,omitempty"`
	Goal    float64 `json:"goal"` // 0 = none
}

// Goal is a field of a side's readings that wants to reach a value.
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
		if (r.Field != "" || r.ToField != "") != (r.Name != "") {
			return fmt.Errorf("ratio %s / %s: fields want a name, and a name fields", r.Of, r.To)
		}
	}
	for _, g := range c.Goals {
		if c.side(g.Of) < 0 {
			return fmt.Errorf("goal on %s: no such side", g.Of)
		}
	}
	return nil
}

// side is the index of the side of that label, -1 = none.
func (c Comparison) side(label string) int {
	return slices.IndexFunc(c.Sides, func(s Side) bool { return s.Label == label })
}
