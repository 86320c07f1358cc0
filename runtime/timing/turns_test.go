package timing

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mop/internal/files"
	"mop/runtime/device"
)

// Each model has the times of its own passes, and the order of the models is reversed at
// every second step.
func TestMeasureInTurns(t *testing.T) {
	clock := time.Unix(0, 0)
	var order []string
	fake := func(name string, first, step time.Duration) Generate {
		return func(_ context.Context, prompts [][]int, out int, token func()) error {
			if len(prompts) != 1 {
				t.Errorf("want the prompt, got %v", prompts)
			}
			for i := range out {
				clock = clock.Add(step)
				if i == 0 {
					clock = clock.Add(first - step)
				}
				order = append(order, name)
				token()
			}
			clock = clock.Add(time.Hour) // after the last token: not timed
			return nil
		}
	}
	runs, err := MeasureInTurns(context.Background(), []InTurns{{Generate: fake("a", 10, 3)}, {Generate: fake("b", 7, 2)}}, [][]int{{1}}, 3, func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	if a, b := []time.Duration{10, 13, 16}, []time.Duration{7, 9, 11}; !slices.Equal(runs[0].Tokens, a) || !slices.Equal(runs[1].Tokens, b) {
		t.Errorf("want %v and %v, got %v", a, b, runs)
	}
	if want := []string{"a", "b", "b", "a", "a", "b"}; !slices.Equal(order, want) {
		t.Errorf("want the order %v, got %v", want, order)
	}
}

// slowDevice needs some time for each output or down projection.
type slowDevice struct {
	device.Device
	clock *time.Time
	took  time.Duration
	log   *[]string
	name  string
}

func (d slowDevice) AddLinear(phase device.Phase, _, _ device.Buffer, _ int, _ device.Weight) {
	*d.clock = d.clock.Add(d.took)
	if phase == device.Prefill {
		*d.log = append(*d.log, d.name)
	}
}

// The prefill of two models is divided into turns of about 25 ms, and each has the time of its
// own turns. Decode steps are not divided.
func TestPrefillIsDividedIntoTurns(t *testing.T) {
	clock, log := time.Unix(0, 0), []string{}
	model := func(name string, took time.Duration) InTurns {
		d := NewDivided(slowDevice{nil, &clock, took, &log, name})
		return InTurns{Divided: d, Generate: func(_ context.Context, _ [][]int, out int, token func()) error {
			for range 8 {
				d.AddLinear(device.Prefill, nil, nil, 1, nil)
			}
			token()
			for range out - 1 {
				d.AddLinear(device.Decode, nil, nil, 1, nil)
				token()
			}
			return nil
		}}
	}
	models := []InTurns{model("a", 13*time.Millisecond), model("b", 26*time.Millisecond)}
	for divided, want := range []string{"aaaaaaaabbbbbbbb", "aabaabaabaabbbbb"} {
		log = log[:0]
		runs, err := MeasureInTurns(t.Context(), models, nil, 3, func() time.Time { return clock })
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(log, ""); got != want {
			t.Errorf("divided %d: want the turns %s, got %s", divided, want, got)
		}
		for i, ms := range []time.Duration{13, 26} {
			ms *= time.Millisecond
			if want := []time.Duration{8 * ms, 9 * ms, 10 * ms}; !slices.Equal(runs[i].Tokens, want) {
				t.Errorf("divided %d: want %v, got %v", divided, want, runs[i].Tokens)
			}
			models[i].Divided.Divide(runs[i].TTFT())
		}
	}
	models[0].Divided.Divide(40 * time.Millisecond)
	if models[0].Divided.every != 0 {
		t.Error("a pass of less than two turns: want it undivided")
	}
}

// A file that is cut while a model's weights are read from it is an error of the caller, on
// whatever goroutine the model runs.
func TestFaultInTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	weights, err := files.MapPath(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1); err != nil {
		t.Fatal(err)
	}
	measure := func() (err error) {
		defer files.Guard()()
		defer files.Catch(&err)
		read := func(context.Context, [][]int, int, func()) error {
			if weights[1<<19] != 0 {
				t.Error("want a fault, got a byte")
			}
			return nil
		}
		_, err = MeasureInTurns(context.Background(), []InTurns{{Generate: read}}, [][]int{{1}}, 1, nil)
		return err
	}
	if err := measure(); !errors.Is(err, files.ErrFault) || !strings.Contains(err.Error(), path) {
		t.Errorf("want %v with the file, got %v", files.ErrFault, err)
	}
}
