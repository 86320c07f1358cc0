package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Spread is what a table shows of some pairs.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Pairs  int     `json:"pairs"`
}

func spread(x []float64) Spread {
	x = slices.Clone(x)
	slices.Sort(x)
	n := len(x)
	if n == 0 {
		return Spread{Median: math.NaN(), Min: math.NaN(), Max: math.NaN()}
	}
	return Spread{(x[(n-1)/2] + x[n/2]) / 2, x[0], x[n-1], n}
}

// calm leaves only the pairs without a disturbed run, and counts the others.
func calm(readings []Reading) (kept []Reading, disturbed int) {
	bad := map[int]bool{}
	for _, r := range readings {
		if r.disturbed() {
			bad[r.Pair] = true
		}
	}
	for _, r := range readings {
		if !bad[r.Pair] {
			kept = append(kept, r)
		}
	}
	return kept, len(bad)
}

// values are a side's figures by pair; field "" is the side's own.
func values(readings []Reading, side, field string) map[int]float64 {
	out := map[int]float64{}
	for _, r := range readings {
		if r.Side != side {
			continue
		}
		if field == "" {
			out[r.Pair] = r.Value
		} else if v, ok := r.Fields[field]; ok {
			out[r.Pair] = v
		}
	}
	return out
}

// ratios divides pair by pair, so that what slows a whole pair down cancels.
func ratios(of, to map[int]float64) (out []float64) {
	for pair, a := range of {
		if b, ok := to[pair]; ok && b > 0 {
			out = append(out, a/b)
		}
	}
	return out
}

func all(m map[int]float64) (out []float64) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// tables writes the comparison as Markdown: figures, then ratios and goals.
func tables(c Comparison, readings []Reading) string {
	readings, disturbed := calm(readings)
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", c.Name)
	builds := map[string]bool{}
	for _, r := range readings {
		builds[c.Sides[c.side(r.Side)].Reads+" "+r.Program] = true
	}
	fmt.Fprintf(&b, "Builds: %s.\n\n", strings.Join(slices.Sorted(maps.Keys(builds)), ", "))
	if disturbed > 0 {
		fmt.Fprintf(&b, "%d pairs do not count: in one of their runs others took more than %.0f %% of the cores, or more than %d MiB came from disk.\n\n",
			disturbed, 100*maxOtherLoad, maxDiskBytes>>20)
	}
	fmt.Fprintf(&b, "| | median | min to max | runs | command |\n|---|---:|---:|---:|---|\n")
	for _, s := range c.Sides {
		x := spread(all(values(readings, s.Label, "")))
		unit := "t/s"
		if s.Reads == "mop" {
			unit = s.Field
		}
		fmt.Fprintf(&b, "| %s, %s | %s | %s to %s | %d | `%s` |\n", s.Label, unit, figure(x.Median), figure(x.Min), figure(x.Max), x.Pairs, strings.Join(s.Command, " "))
	}
	fmt.Fprintf(&b, "\n| | median | min to max | pairs | goal | |\n|---|---:|---:|---:|---:|---|\n")
	line := func(name string, x Spread, goal float64) {
		if x.Pairs == 0 {
			return
		}
		wanted, verdict := "-", ""
		if goal > 0 {
			wanted, verdict = fmt.Sprintf(">= %.2f", goal), "reached"
			if !(x.Median >= goal) {
				verdict = fmt.Sprintf("missed by %.1f %%", 100*(1-x.Median/goal))
			}
		}
		fmt.Fprintf(&b, "| %s | **%.3f** | %.3f to %.3f | %d | %s | %s |\n", name, x.Median, x.Min, x.Max, x.Pairs, wanted, verdict)
	}
	for _, r := range c.Ratios {
		name := r.Name
		if name == "" {
			name = r.Of + " / " + r.To
		}
		line(name, spread(ratios(values(readings, r.Of, r.Field), values(readings, r.To, r.ToField))), r.Goal)
	}
	for _, g := range c.Goals {
		line(g.Of+": "+g.Field, spread(all(values(readings, g.Of, g.Field))), g.Goal)
	}
	return b.String()
}

// figure has four significant digits.
func figure(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.4g", x)
}

// sameBuilds returns an error if the readings of a side come from two builds.
func sameBuilds(readings []Reading) error {
	seen := map[string]string{}
	for _, r := range readings {
		if was, ok := seen[r.Side]; ok && was != r.Program {
			return fmt.Errorf("%s: the file has pairs of build %s, got one of %s: choose another -out", r.Side, was, r.Program)
		}
		seen[r.Side] = r.Program
	}
	return nil
}

// builds names what each side's program was built from.
func (r *Result) builds() []string {
	seen := map[string]bool{}
	for _, readings := range r.Readings {
		for _, x := range readings {
			program := x.Program
			if program == "" {
				program = "unknown"
			}
			seen[x.Side+" "+program] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// markdown is NAME.md.
func (r *Result) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.Suite.Note)
	m := r.Machine
	fmt.Fprintf(&b, "- machine: %s (family/model/stepping %s), %d cores, L3 %d MiB, memory %.1f GiB; widest instruction set %s\n",
		m.CPU, m.Kind, m.Cores, m.L3Bytes>>20, float64(m.MemoryBytes)/(1<<30), r.ISAs[0])
	for _, name := range slices.Sorted(maps.Keys(r.Settings)) {
		fmt.Fprintf(&b, "- %s: %s\n", name, r.Settings[name])
	}
	fmt.Fprintf(&b, "- runner: %s\n", r.Go)
	fmt.Fprintf(&b, "- builds: %s\n", strings.Join(r.builds(), "; "))
	fmt.Fprintf(&b, "- measured: %s\n", strings.Join(r.Dates, ", "))
	for _, c := range r.Suite.Comparison {
		if len(r.Readings[c.Name]) > 0 {
			fmt.Fprintf(&b, "\n%s", tables(c, r.Readings[c.Name]))
		}
	}
	return b.String()
}
