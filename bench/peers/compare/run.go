package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"mop/bench/hardware"
)

// Reading is one run of one side.
type Reading struct {
	Pair    int                `json:"pair"` // from 0
	Side    string             `json:"side"`
	Value   float64            `json:"value"`            // tokens a second, or the field asked for
	Fields  map[string]float64 `json:"fields,omitempty"` // all numbers of mop's row, and those of PerToken
	Program string             `json:"program"`          // what the program says it was built from
	Disturbance
}

// Disturbance is what may have slowed a run down.
type Disturbance struct {
	OtherLoad float64 `json:"other_load"` // share of all cores that went to others meanwhile; 0 where the system does not tell
	DiskBytes int64   `json:"disk_bytes"` // read from disk by the command: its files were not in memory
}

// Limits from which on a run is disturbed, and its pair does not count. They do
// not look at the figures. Reading some of a file is no disturbance: all programs
// here warm up with a run that does not count.
const (
	maxOtherLoad = 0.05
	maxDiskBytes = 256 << 20
)

func (d Disturbance) disturbed() bool {
	return d.OtherLoad > maxOtherLoad || d.DiskBytes > maxDiskBytes
}

// execute runs a command and returns its stdout; a test gives its own.
type execute func(ctx context.Context, command []string) ([]byte, Disturbance, error)

// shell runs programs for real. A cache directory of its own, empty each time,
// makes mop measure the machine's limits in every run: they drift as much
// as everything else on a shared machine.
func shell(ctx context.Context, command []string) ([]byte, Disturbance, error) {
	var d Disturbance
	cache, err := os.MkdirTemp("", "compare-cache-")
	if err != nil {
		return nil, d, err
	}
	defer os.RemoveAll(cache)
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	start := time.Now()
	others, steal, known := hardware.OtherLoad()
	out, err := c.Output()
	if err != nil {
		return nil, d, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(stderr.String()))
	}
	if after, stealAfter, ok := hardware.OtherLoad(); ok && known {
		rest := after - others + stealAfter - steal - c.ProcessState.UserTime() - c.ProcessState.SystemTime()
		d.OtherLoad = max(0, float64(rest)/float64(time.Since(start))/float64(runtime.NumCPU()))
	}
	d.DiskBytes = diskBytes(c.ProcessState)
	return out, d, nil
}

// measure lets the sides take turns, once each in every pair, in an order that
// is shuffled for each, until so many pairs were not disturbed, or twice as many
// and two were made. Pairs are numbered from first on.
func measure(ctx context.Context, c Comparison, set map[string]string, first, pairs int, run execute, tell func(Reading)) ([]Reading, error) {
	var out []Reading
	calm := 0
	for pair := first; calm < pairs && pair < first+2*pairs+2; pair++ {
		disturbed := false
		order := rand.New(rand.NewPCG(uint64(pair), 1)).Perm(len(c.Sides))
		for _, i := range order {
			s := c.Sides[i]
			command := make([]string, len(s.Command))
			for j, word := range s.Command {
				var missing error
				command[j] = os.Expand(word, func(name string) string {
					v, ok := set[name]
					if !ok {
						missing = fmt.Errorf("%s: ${%s} is not set", s.Label, name)
					}
					return v
				})
				if missing != nil {
					return out, missing
				}
			}
			stdout, d, err := run(ctx, command)
			if err != nil {
				return out, fmt.Errorf("%s: %w", s.Label, err)
			}
			r, err := s.read(stdout)
			if err != nil {
				return out, fmt.Errorf("%s: %w", s.Label, err)
			}
			r.Pair, r.Side, r.Disturbance = pair, s.Label, d
			disturbed = disturbed || d.disturbed()
			for name, cost := range s.PerToken {
				if r.Fields == nil {
					r.Fields = map[string]float64{}
				}
				r.Fields[name] = r.Value * cost
			}
			out = append(out, r)
			if tell != nil {
				tell(r)
			}
		}
		if !disturbed {
			calm++
		}
	}
	return out, nil
}

// read takes a side's figure out of what it printed.
func (s Side) read(stdout []byte) (r Reading, err error) {
	if s.Reads == "llama-bench" {
		return readLlama(stdout)
	}
	var rows []map[string]any
	if err := json.Unmarshal(stdout, &rows); err != nil {
		return r, fmt.Errorf("mop's JSON: %w", err)
	}
	if s.Row < 0 || s.Row >= len(rows) {
		return r, fmt.Errorf("row %d of %d", s.Row, len(rows))
	}
	r.Fields = map[string]float64{}
	flatten(r.Fields, "", rows[s.Row])
	v, ok := r.Fields[s.Field]
	if !ok {
		return r, fmt.Errorf("mop's row has no number %s", s.Field)
	}
	commit, _ := rows[s.Row]["commit"].(string)
	r.Value, r.Program = v, commit
	return r, nil
}

// flatten collects the numbers of a row; nested names are joined by a dot.
func flatten(out map[string]float64, prefix string, row map[string]any) {
	for name, v := range row {
		switch v := v.(type) {
		case float64:
			out[prefix+name] = v
		case map[string]any:
			flatten(out, prefix+name+".", v)
		}
	}
}

// readLlama reads llama-bench -o jsonl with one test in it.
func readLlama(stdout []byte) (r Reading, err error) {
	d := json.NewDecoder(bytes.NewReader(stdout))
	n := 0
	for ; ; n++ {
		var line struct {
			Commit  string    `json:"build_commit"`
			Samples []float64 `json:"samples_ts"`
		}
		if err := d.Decode(&line); err == io.EOF {
			break
		} else if err != nil {
			return r, fmt.Errorf("llama-bench's JSON: %w", err)
		}
		sum := 0.0
		for _, v := range line.Samples {
			sum += v
		}
		r.Value, r.Program = sum/float64(len(line.Samples)), line.Commit
	}
	if n != 1 {
		return r, fmt.Errorf("llama-bench: want one test, got %d", n)
	}
	if !(r.Value > 0) || math.IsInf(r.Value, 0) {
		return r, errors.New("llama-bench: no samples")
	}
	return r, nil
}
