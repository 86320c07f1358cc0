package latency

import (
	"context"
	"math"
	"testing"
	"time"
)

// More rounds are asked for after the protocol's own, each with all samples so
// far, and the rows of all of them can be computed.
func TestMoreRounds(t *testing.T) {
	c := &clock{t: time.Unix(0, 0)}
	others := time.Duration(0)
	models := []Model{
		fake(c, "a", 50*time.Millisecond, 10*time.Millisecond, nil, nil),
		fake(c, "b", 40*time.Millisecond, 8*time.Millisecond, nil, nil),
	}
	p := Protocol{In: 1, Out: 2, Batch: 1, Runs: 4, Discard: 1}
	var asked []int
	samples, err := Measure(context.Background(), p, models, Options{
		Now: c.now,
		OtherLoad: func() (time.Duration, time.Duration, bool) {
			others += time.Millisecond
			return others, 2 * others, true
		},
		More: func(rounds int, samples []Sample) bool {
			asked = append(asked, rounds)
			if len(samples) != 2*rounds {
				t.Errorf("after %d rounds: want %d samples, got %d", rounds, 2*rounds, len(samples))
			}
			return rounds < 6
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(asked) != 3 || asked[0] != 4 || len(samples) != 12 || samples[11].Round != 5 || samples[11].Discarded {
		t.Fatalf("want two more rounds than 4, got %v, %d samples, the last %+v", asked, len(samples), samples[len(samples)-1])
	}
	if s := samples[5]; s.Others != time.Millisecond || s.Steal != 2*time.Millisecond {
		t.Errorf("want the load between the ends of the run, got %v and %v", s.Others, s.Steal)
	}
	if _, err := Rows(p, models, samples, Environment{}); err == nil {
		t.Error("rows of 4 rounds from samples of 6: want an error")
	}
	p.Runs = 6
	if _, err := Rows(p, models, samples, Environment{}); err != nil {
		t.Error(err)
	}
}

func TestWidest(t *testing.T) {
	p := Protocol{In: 1, Out: 2, Batch: 1, Runs: 2}
	models := []Model{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	var samples []Sample
	for round, total := range []int{100, 110, 120} { // b always half of it, c once as long and twice half
		third := total / 2
		if round == 0 {
			third = total
		}
		for i, ms := range []int{total, total / 2, third} {
			samples = append(samples, sample(models[i].Name, round, false, 1, time.Duration(ms-1), 2))
		}
	}
	if w, err := Widest(p, models[:2], samples, 3); err != nil || w != 0 {
		t.Errorf("every round the same ratio: want 0, got %v, %v", w, err)
	}
	// c's ratio is 1 in the resample of three times round 0, which one in 27 is
	// (3.7 %), and 2 in that of others; median(a)/median(c) = 110/60.
	if w, err := Widest(p, models, samples, 3); err != nil || math.Abs(w-(2-1)/(110.0/60)) > 1e-12 {
		t.Errorf("want %v, got %v, %v", (2-1)/(110.0/60), w, err)
	}
	if w, err := Widest(p, models, samples[:3], 1); err != nil || w != 0 {
		t.Errorf("one round: want 0, got %v, %v", w, err)
	}
	if _, err := Widest(p, models, samples, 4); err == nil {
		t.Error("fewer rounds than said: want an error")
	}
}
