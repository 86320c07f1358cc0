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

	"mop/runtime/device/cuda/driver"
)

// newThreadDriver makes each driver call on a new thread without a current context, as the
// scheduler may do at any call.
type newThreadDriver struct{ driver.Driver }

// onNewThread runs f on a new thread, which ends with it.
func onNewThread(f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is not used again
		defer close(done)
		f()
	}()
	<-done
}

func (e newThreadDriver) Alloc(n int64) (p pointer, err error) {
	onNewThread(func() { p, err = e.Driver.Alloc(n) })
	return
}

func (e newThreadDriver) Free(p pointer) (err error) {
	onNewThread(func() { err = e.Driver.Free(p) })
	return
}

func (e newThreadDriver) Clear(p pointer, n int64) (err error) {
	onNewThread(func() { err = e.Driver.Clear(p, n) })
	return
}

func (e newThreadDriver) Upload(p pointer, pitch int, src []byte, row int) (err error) {
	onNewThread(func() { err = e.Driver.Upload(p, pitch, src, row) })
	return
}

func (e newThreadDriver) Download(dst []byte, p pointer) (err error) {
	onNewThread(func() { err = e.Driver.Download(dst, p) })
	return
}

func (e newThreadDriver) Launch(c driver.Call) (err error) {
	onNewThread(func() { err = e.Driver.Launch(c) })
	return
}

func (e newThreadDriver) Encode(t driver.Tensor) (m driver.TensorMap, err error) {
	onNewThread(func() { m, err = e.Driver.Encode(t) })
	return
}

func (e newThreadDriver) Record(calls []driver.Call) (r driver.Recording, err error) {
	onNewThread(func() { r, err = e.Driver.Record(calls) })
	return newThreadRecording{r}, err
}

func (e newThreadDriver) FreeMemory() (n int64, err error) {
	onNewThread(func() { n, err = e.Driver.FreeMemory() })
	return
}

func (e newThreadDriver) Sync() (err error) {
	onNewThread(func() { err = e.Driver.Sync() })
	return
}

func (e newThreadDriver) Close() (err error) {
	onNewThread(func() { err = e.Driver.Close() })
	return
}

type newThreadRecording struct{ driver.Recording }

func (r newThreadRecording) Run(p pointer, n int) (_ func([]byte) error, err error) {
	var take func([]byte) error
	onNewThread(func() { take, err = r.Recording.Run(p, n) })
	return func(dst []byte) (err error) {
		onNewThread(func() { err = take(dst) })
		return
	}, err
}

func (r newThreadRecording) Close() (err error) {
	onNewThread(func() { err = r.Recording.Close() })
	return
}

// A device can be called from any thread.
func TestAnyThread(t *testing.T) {
	src, err := checkpoint.Open("../../model/testdata/different-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	run := func(wrap func(driver.Driver) driver.Driver) []int {
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
		t.Cleanup(func() { m.Close() })
		return generated(t, d, m)
	}
	want := run(func(d driver.Driver) driver.Driver { return d })
	if got := run(func(d driver.Driver) driver.Driver { return newThreadDriver{d} }); !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

// generated returns the greedy tokens after a prompt of more than one page.
func generated(t *testing.T, d *Device, m *model.Model) (tokens []int) {
	t.Helper()
	prompt := make([]int, 70)
	for i := range prompt {
		prompt[i] = i * 7 % m.Config.VocabSize
	}
	cache, err := kvcache.NewSequences(d, m.Config, 1, 90)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	if err := generate.Run(context.Background(), m, cache, [][]int{prompt}, generate.Options{MaxTokens: 15, IgnoreEOS: true}, func(_, next []int) []int {
		tokens = append(tokens, next[0])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(tokens) != 15 {
		t.Fatalf("want 15 tokens, got %v", tokens)
	}
	return tokens
}
