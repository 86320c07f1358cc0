//go:build cuda || cudaemu

package cuda

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// A cache takes memory as positions come, also where a recorded step goes over a
// page's end; the ids are those of a pass at a time.
func TestPagesOnDemand(t *testing.T) {
	src, err := checkpoint.Open("../../model/testdata/gqa-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d := open(t, orders[0])
	m, err := model.Load(d, src)
	if err != nil {
		t.Fatal(err)
	}
	m.Config.MaxPositions = 1 << 20
	host, err := model.Load(struct {
		device.Device
		device.Pager
	}{d, d}, src)
	if err != nil {
		t.Fatal(err)
	}
	long := make([]int, 62)
	for i := range long {
		long[i] = 1 + i*7%m.Config.Vocab/2
	}
	there := func(c *kvcache.Cache) (n int) {
		for _, kv := range c.Layers {
			n += len(kv.Keys.(*pages).own.pages)
		}
		return n
	}
	run := func(m *model.Model) (ids []int) {
		cache, err := kvcache.New(d, m.Config, 3, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if n := there(cache); n != 0 {
			t.Errorf("want no page before there are positions, got %d", n)
		}
		if err := generate.Run(context.Background(), m, cache, [][]int{long, long[:3], long[:60]}, generate.Options{MaxTokens: 8, IgnoreEOS: true}, func(_, next []int) []int {
			ids = append(ids, next...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		layers := len(m.Config.Layers)
		if n := there(cache); n != 5*layers { // of 69, 10 and 67 positions
			t.Errorf("want five pages in each of %d layers, got %d", layers, n)
		}
		return ids
	}
	if own, want := run(m), run(host); fmt.Sprint(own) != fmt.Sprint(want) {
		t.Errorf("want %v, got %v", want, own)
	}
}

// Where there is no room for a further page the run ends with what was wanted and
// what is free, its last id counts, and the device goes on; a cache that is dropped
// makes room.
func TestNoRoomForAPage(t *testing.T) {
	d := open(t, orders[0])
	hs := device.Heads{H: 4, K: 4, Dh: 64}
	free, err := d.driver.FreeMemory()
	if err != nil {
		t.Fatal(err)
	}
	one := int64(2 * page * 4 * 64 * 2)
	// All but what ten pages take is a single buffer's.
	const width = 1 << 16
	ballast, err := d.Buffer(int((free-11*one)/(4*width)), width)
	if err != nil {
		t.Fatal(err)
	}
	first, err := d.Cache(1, 1<<20, hs)
	if err != nil {
		t.Fatal(err)
	}
	second, err := d.Cache(1, page, hs)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; err == nil; n++ {
		err = d.Extend(first, 0, n*page)
	}
	if !errors.Is(err, device.ErrMemory) || !strings.Contains(err.Error(), fmt.Sprintf("want %d bytes for a page of the cache, have ", one)) {
		t.Fatalf("want %v with what was wanted and what is free, got %v", device.ErrMemory, err)
	}
	t.Log(err)
	have := first.Keys.(*pages).have[0]
	if have < 5 || d.Sync() != nil {
		t.Fatalf("want pages up to the end of memory and a device that works, got %d, %v", have, d.Sync())
	}
	if err := d.Extend(first, 0, have*page); err != nil {
		t.Errorf("what is there: %v", err)
	}
	if err := d.Extend(second, 0, 1); !errors.Is(err, device.ErrMemory) {
		t.Fatalf("want %v, got %v", device.ErrMemory, err)
	}
	runtime.KeepAlive(first.Keys)
	first = device.KV{}
	for try := 0; ; try++ {
		if err = d.Extend(second, 0, 1); err == nil || try == 20 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Errorf("after the first cache is dropped: %v", err)
	}
	// Slabs without a page in use make room for anything else.
	second = device.KV{}
	if _, err := d.Buffer(8, int(one/4)); err != nil {
		t.Errorf("want the slabs' memory, got %v", err)
	}
	runtime.KeepAlive(ballast)
}
