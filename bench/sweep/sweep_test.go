package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mop/internal/journal"
	"mop/internal/progress"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device/cpu"
	"mop/runtime/predict"
)

// ticks is a clock that moves by a millisecond whenever it is read, so that every
// operation takes one.
type ticks struct{ at time.Time }

func (c *ticks) now() time.Time {
	c.at = c.at.Add(time.Millisecond)
	return c.at
}

func tiny() *config.Config {
	return &config.Config{VocabSize: 40, HiddenSize: 8, HeadDim: 4, RopeTheta: 1e4, NormEps: 1e-5, MaxPositions: 64, BOS: -1,
		Layers: slices.Repeat([]config.LayerShape{{Heads: 4, KVHeads: 2, HeadDim: 4, Intermediate: 24}}, 3)}
}

func run(t *testing.T, o Options) (*Result, error) {
	t.Helper()
	dev, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	return Run(context.Background(), dev, o)
}

func options(t *testing.T, out string, what ...string) Options {
	clock := &ticks{time.Unix(0, 0)}
	return Options{Name: "tiny", Base: tiny(), DType: checkpoint.F32, What: what, Out: out, Visits: 2, Limit: time.Hour, Least: time.Millisecond, Kernels: "auto",
		Now: clock.now, OtherLoad: func() (time.Duration, time.Duration, bool) { return 0, 0, true }}
}

// With a clock that counts its readings, every operation takes exactly one of them, and a
// prediction of the whole model is the number of readings.
func TestSweepTimesEveryOperation(t *testing.T) {
	out := filepath.Join(t.TempDir(), "table.json")
	r, err := run(t, options(t, out, "mlp", "heads", "kv", "layers", "prompt", "batch"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Disturbed != 0 || r.Unsettled != 0 || r.Visits != 2*r.Kinds {
		t.Errorf("want two undisturbed visits of each of %d kinds, got %+v", r.Kinds, r)
	}
	table, err := predict.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range table.Passes {
		for _, a := range p.Attention {
			if a.QKV.MS != 1 || a.Attend.MS != 1 || a.Output.MS != 1 {
				t.Errorf("%s of %v tokens: want a millisecond for every operation, got %+v", p.Phase, p.Tokens, a)
			}
		}
		for _, m := range p.MLP {
			if m.GateUp.MS != 1 || m.Down.MS != 1 {
				t.Errorf("%s of %v tokens: want a millisecond for every operation, got %+v", p.Phase, p.Tokens, m)
			}
		}
		// An operation reads the clock twice: the other half is between operations. The
		// token's own reading is one more.
		layers := float64(len(tiny().Layers) + 1)
		if want := 5*layers + 1; (p.Phase == "decode" || float64(p.Batch)*p.Tokens < 32) && p.Other.MS != want {
			t.Errorf("%s, batch %d, %v tokens: want %v ms outside of operations, got %v", p.Phase, p.Batch, p.Tokens, want, p.Other.MS)
		}
	}
	for _, what := range []string{"mlp", "heads", "kv", "layers"} {
		if !slices.ContainsFunc(table.Whole, func(w predict.Whole) bool { return w.What == what && w.Time.MS == 1 }) {
			t.Errorf("%s: want whole models that take one reading of the clock a step", what)
		}
	}
}

// A visit during which others used the machine, and one that took longer than others of
// its kind, are measured again.
func TestDisturbedVisitsAreRepeated(t *testing.T) {
	out := filepath.Join(t.TempDir(), "table.json")
	o := options(t, out, "layers")
	reads, busy := 0, time.Duration(0)
	o.OtherLoad = func() (time.Duration, time.Duration, bool) {
		if reads++; reads == 2 || reads == 8 {
			busy += time.Hour
		}
		return busy, 0, true
	}
	r, err := run(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Disturbed != 2 || r.Unsettled != 0 || r.Table.Disturbed() {
		t.Errorf("want two disturbed visits that were measured again, got %+v", r)
	}
}

// A machine that is never quiet ends the sweep at its limit, and the table says so.
func TestBusyMachine(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), "table.json"), "layers")
	busy := time.Duration(0)
	o.OtherLoad = func() (time.Duration, time.Duration, bool) { busy += time.Hour; return busy, 0, true }
	o.Limit = 0
	r, err := run(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Unsettled != r.Kinds || !r.Table.Disturbed() {
		t.Errorf("want every kind disturbed, got %+v", r)
	}
}

// A visit counts if nothing else used the machine and the base beside it was about as fast
// as usual in its setting. Times are scaled to the usual speed of the base.
func TestUsable(t *testing.T) {
	j := visits{&journal.Journal[*visit]{}}
	x := setting{1, 12, 9}
	for i, load := range []float64{0, 0.01, 0, 0.5, 0.04, 0} {
		j.Records = append(j.Records, &visit{Key: "a", Setting: x, Load: load, Prefill: 30, Decode: 5,
			Beside:     baseTimes{[]float64{50, 52, 50, 45, 50, 65}[i], []float64{10, 10.4, 13, 9, 10, 10}[i]},
			PrefillOps: [][Operations]float64{{Down: 6}}, DecodeOps: [][Operations]float64{{Down: 2}}})
	}
	j.Records = append(j.Records, &visit{Key: "b", Setting: setting{1, 512, 9}, Beside: baseTimes{900, 12}})
	var got []bool
	for _, v := range j.Records {
		got = append(got, v.usable(j.usual()[v.Setting]))
	}
	if want := []bool{true, true, false, false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
	if n := j.undisturbed(&task{key: "a", setting: x}, j.usual()); n != 3 {
		t.Errorf("want 3 undisturbed visits, got %d", n)
	}
	kept, disturbed := keep(j.of("a"), baseTimes{150, 20})
	if len(kept) != 5 || disturbed || kept[0].Decode != 10 || kept[0].DecodeOps[0][Down] != 4 || kept[0].Prefill != 90 || kept[0].PrefillOps[0][Down] != 18 {
		t.Errorf("want the visits without load at twice and three times their times, got %+v, %v", kept[0], disturbed)
	}
	if j.Records[0].DecodeOps[0][Down] != 2 || j.Records[0].PrefillOps[0][Down] != 6 {
		t.Error("a visit was changed")
	}
}

// A sweep that was killed in the middle of a line goes on where it was, and a sweep of
// another quantity adds to the table.
func TestSweepResumes(t *testing.T) {
	out := filepath.Join(t.TempDir(), "table.json")
	first, err := run(t, options(t, out, "layers"))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(visitsFile(out))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(visitsFile(out), whole[:len(whole)-7], 0o666); err != nil {
		t.Fatal(err)
	}
	again, err := run(t, options(t, out, "layers"))
	if err != nil {
		t.Fatal(err)
	}
	if again.Visits != first.Visits {
		t.Errorf("want %d visits, got %d", first.Visits, again.Visits)
	}
	more, err := run(t, options(t, out, "batch"))
	if err != nil {
		t.Fatal(err)
	}
	if more.Visits <= first.Visits || len(more.Table.Whole) != len(first.Table.Whole) || len(more.Table.Passes) <= len(first.Table.Passes) {
		t.Errorf("want a table of both quantities, got %d visits and %d passes after %d and %d", more.Visits, len(more.Table.Passes), first.Visits, len(first.Table.Passes))
	}
	other := options(t, out, "layers")
	other.Base.Layers = other.Base.Layers[:2]
	if _, err := run(t, other); err == nil || !strings.Contains(err.Error(), "its model is") {
		t.Errorf("want a refusal of another model's file, got %v", err)
	}
}

func TestParseWhat(t *testing.T) {
	if got, err := ParseWhat("mlp,kv,mlp"); err != nil || !slices.Equal(got, []string{"mlp", "kv"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := ParseWhat("mlp,width"); err == nil {
		t.Error("want an error for a quantity that does not exist")
	}
}

// A verification that is stopped says what it has measured.
func TestVerifyIsStopped(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), "table.json"), "mlp")
	r, err := run(t, o)
	if err != nil {
		t.Fatal(err)
	}
	dev, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	small := slices.Clone(tiny().Layers)
	small[0].Intermediate = 8
	v, err := Verify(ctx, dev, r.Table, tiny(), []Shapes{{"small", small}}, VerifyOptions{Workload: predict.Workload{In: 12, Out: 9, Batch: 1}, DType: checkpoint.F32,
		Runs: 3, Tries: 9, Precision: 0.1, Now: o.Now, OtherLoad: o.OtherLoad, Progress: func(progress.Update) { cancel() }})
	if !errors.Is(err, context.Canceled) || v == nil || len(v.Models) != 1 || v.Models[0].Runs != 1 || !v.Models[0].Disturbed {
		t.Fatalf("want one run of one model and the error, got %+v, %v", v, err)
	}
	// With a clock that counts its readings, both models take as long as each other.
	if v.Models[0].Measured <= 0 || v.RepeatWorst != 0 {
		t.Errorf("want a time and no error of the machine, got %+v", v)
	}
	if _, err := json.Marshal(v); err != nil {
		t.Error(err)
	}
}
