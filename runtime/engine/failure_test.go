package engine

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/model"
)

// faultyDevice panics once, or is lost, when a test says so.
type faultyDevice struct {
	device.Device
	panics, fails atomic.Int32 // in so many multiplications, 0 = never
	lost          atomic.Bool
}

var errLost = errors.New("the device is gone")

func (d *faultyDevice) Linear(phase device.Phase, y, x device.Buffer, n int, w device.Weight) {
	if d.panics.Load() > 0 && d.panics.Add(-1) == 0 {
		panic("broken kernel")
	}
	if d.fails.Load() > 0 && d.fails.Add(-1) == 0 {
		d.lost.Store(true)
	}
	d.Device.Linear(phase, y, x, n, w)
}

func (d *faultyDevice) Sync() error {
	if d.lost.Load() {
		return errLost
	}
	return d.Device.Sync()
}

func faultyModel(t *testing.T) (*model.Model, *faultyDevice) {
	t.Helper()
	whole := heterogeneousModel(t)
	d := &faultyDevice{Device: whole.Device()}
	m, err := model.Load(d, checkpoint.Random(whole.Config, 3, checkpoint.F32))
	if err != nil {
		t.Fatal(err)
	}
	return m, d
}

// A panic in a step, of a prompt or of decoding, ends the requests of the step with an error;
// those that wait and later ones have the right tokens, and all pages are free.
func TestPanicInAStep(t *testing.T) {
	for _, withDraft := range []bool{false, true} {
		m, d := faultyModel(t)
		o := Options{MaxBatch: 2}
		if withDraft {
			o.Draft = &Draft{draftOf(t, m, false), 2}
		}
		r := Request{Prompt: []int{1, 2, 3}, MaxTokens: 20, IgnoreEOS: true}
		want := alone(t, m, r)
		e := newEngine(t, m, o)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- e.Run(ctx) }()
		for _, after := range []int32{1, 2, 7} {
			d.panics.Store(after)
			results, err := e.Submit(r, r, r) // two run, one waits
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for _, result := range results {
				got, err := wait(ctx, result)
				if err != nil {
					failed++
					if err.Error() != "internal error" || result.Finish() != FinishError {
						t.Errorf("want an internal error, got %v, %q", err, result.Finish())
					}
				} else if !slices.Equal(got, want) {
					t.Errorf("want %v, got %v", want, got)
				}
			}
			if failed < 1 || failed > 2 {
				t.Errorf("panic after %d: want the requests of one step to fail, got %d", after, failed)
			}
			if e.Err() != nil {
				t.Errorf("want an engine that lives on, got %v", e.Err())
			}
		}
		results, err := e.Submit(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := wait(ctx, results[0]); err != nil || !slices.Equal(got, want) {
			t.Errorf("afterwards: want %v, got %v, %v", want, got, err)
		}
		stop()
		<-ended
		if s := e.Stats(); s.PagesUsed != 0 || s.Running != 0 {
			t.Errorf("at the end: %+v", s)
		}
		if withDraft {
			if used, _ := e.draft.cache.Pages(); used != 0 {
				t.Errorf("at the end: %d pages of the draft", used)
			}
		}
	}
}

// wait gives all tokens of a request.
func wait(ctx context.Context, r *Result) (all []int, err error) {
	for done := false; !done; {
		var tokens []Token
		if tokens, done, err = r.Next(ctx); err != nil {
			return nil, err
		}
		for _, token := range tokens {
			all = append(all, token.ID)
		}
	}
	return all, nil
}

// A device that is lost ends all requests, those that wait too, and the engine.
func TestLostDevice(t *testing.T) {
	m, d := faultyModel(t)
	e := newEngine(t, m, Options{MaxBatch: 1})
	ended := make(chan error)
	go func() { ended <- e.Run(t.Context()) }()
	d.fails.Store(5)
	r := Request{Prompt: []int{1, 2, 3}, MaxTokens: 20, IgnoreEOS: true}
	results, err := e.Submit(r, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrDevice) || !errors.Is(err, errLost) {
		t.Errorf("want %v, got %v", errLost, err)
	}
	for _, r := range results {
		if _, err := wait(t.Context(), r); !errors.Is(err, ErrDevice) {
			t.Errorf("want %v, got %v", ErrDevice, err)
		}
	}
	if _, err := e.Submit(r); !errors.Is(err, ErrDevice) || e.Err() == nil {
		t.Errorf("a later request: got %v", err)
	}
	if s := e.Stats(); s.PagesUsed != 0 || s.Running != 0 || s.Waiting != 0 {
		t.Errorf("at the end: %+v", s)
	}
}
