//go:build cuda

package cuda

import (
	"context"
	"runtime"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// elsewhere calls a driver from a thread of its own each time, one that no context is
// current on: the scheduler may do so at any call.
type elsewhere struct{ driver }

// away runs f on a new thread, which ends with it.
func away(f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is not used again
		defer close(done)
		f()
	}()
	<-done
}

func (e elsewhere) Alloc(n int64) (p pointer, err error) {
	away(func() { p, err = e.driver.Alloc(n) })
	return
}

func (e elsewhere) Free(p pointer) (err error) {
	away(func() { err = e.driver.Free(p) })
	return
}

func (e elsewhere) Clear(p pointer, n int64) (err error) {
	away(func() { err = e.driver.Clear(p, n) })
	return
}

func (e elsewhere) Upload(p pointer, pitch int, src []byte, row int) (err error) {
	away(func() { err = e.driver.Upload(p, pitch, src, row) })
	return
}

func (e elsewhere) Download(dst []byte, p pointer) (err error) {
	away(func() { err = e.driver.Download(dst, p) })
	return
}

func (e elsewhere) Launch(c call) (err error) {
	away(func() { err = e.driver.Launch(c) })
	return
}

func (e elsewhere) Encode(t tensor) (m tensorMap, err error) {
	away(func() { m, err = e.driver.Encode(t) })
	return
}

func (e elsewhere) Record(calls []call) (r recording, err error) {
	away(func() { r, err = e.driver.Record(calls) })
	return recordedElsewhere{r}, err
}

func (e elsewhere) FreeMemory() (n int64, err error) {
	away(func() { n, err = e.driver.FreeMemory() })
	return
}

func (e elsewhere) Sync() (err error) {
	away(func() { err = e.driver.Sync() })
	return
}

func (e elsewhere) Close() (err error) {
	away(func() { err = e.driver.Close() })
	return
}

type recordedElsewhere struct{ recording }

func (r recordedElsewhere) Run(p pointer, n int) (_ func([]byte) error, err error) {
	var take func([]byte) error
	away(func() { take, err = r.recording.Run(p, n) })
	return func(dst []byte) (err error) {
		away(func() { err = take(dst) })
		return
	}, err
}

func (r recordedElsewhere) Close() (err error) {
	away(func() { err = r.recording.Close() })
	return
}

// A device may be called from any thread.
func TestAnyThread(t *testing.T) {
	src, err := checkpoint.Open("../../model/testdata/different-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	run := func(wrap func(driver) driver) []int {
		d, err := Open(0)
		if err != nil {
			t.Fatal(err)
		}
		d.driver = wrap(d.driver)
		defer func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}()
		m, err := model.Load(d, src)
		if err != nil {
			t.Fatal(err)
		}
		return generated(t, d, m)
	}
	want := run(func(d driver) driver { return d })
	if got := run(func(d driver) driver { return elsewhere{d} }); !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

// generated is the greedy ids after a prompt that takes more than one page.
func generated(t *testing.T, d *Device, m *model.Model) (ids []int) {
	t.Helper()
	prompt := make([]int, 70)
	for i := range prompt {
		prompt[i] = i * 7 % m.Config.VocabSize
	}
	cache, err := kvcache.New(d, m.Config, 1, 90)
	if err != nil {
		t.Fatal(err)
	}
	if err := generate.Run(context.Background(), m, cache, [][]int{prompt}, generate.Options{MaxTokens: 15, IgnoreEOS: true}, func(_, next []int) []int {
		ids = append(ids, next[0])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 15 {
		t.Fatalf("want 15 ids, got %v", ids)
	}
	return ids
}
