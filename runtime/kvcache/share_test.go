package kvcache

import (
	"testing"

	"mop/runtime/device/cpu"
)

// Sequences share whole pages, which are counted once and are free when none has them any more;
// on a device that cannot share pages, that is an error.
func TestShare(t *testing.T) {
	dev, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	k, err := New(dev, heterogeneous(), Options{Slots: 4, FullSlots: 2, MaxPositions: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	n := k.PageSize()
	used := func(want int) {
		t.Helper()
		if got, free := k.Pages(); got != want || got+free != 2*k.PagesFor(1024) {
			t.Errorf("want %d pages used, got %d, and %d free", want, got, free)
		}
	}
	if _, err := k.AllocN(3); err != nil {
		t.Fatal(err)
	}
	if err := k.Reserve(0, 3*n); err != nil {
		t.Fatal(err)
	}
	k.Append(0, 2*n+5)
	for what, err := range map[string]error{
		"no whole page":             k.Share(1, 0, n+1),
		"more than is there":        k.Share(1, 0, 3*n),
		"a negative number":         k.Share(1, 0, -n),
		"a slot without a sequence": k.Share(3, 0, n),
		"from one without":          k.Share(1, 3, n),
		"into one with pages":       k.Share(0, 0, n),
	} {
		if err == nil {
			t.Errorf("%s: want an error", what)
		}
	}
	for _, to := range []int{1, 2} {
		if err := k.Share(to, 0, 2*n); err != nil {
			t.Fatal(err)
		}
	}
	used(3)
	if k.Len(1) != 2*n || k.PagesOf([]int{1, 2}) != 2 || k.PagesOf([]int{0, 1, 2}) != 3 {
		t.Errorf("got %d positions, %d and %d pages", k.Len(1), k.PagesOf([]int{1, 2}), k.PagesOf([]int{0, 1, 2}))
	}
	if err := k.Reserve(1, 2*n+1); err != nil {
		t.Fatal(err)
	}
	used(4)
	k.Free(0)
	used(3)
	k.Free(1)
	used(2)
	k.Free(2)
	used(0)
	fake, err := New(&fakeDevice{left: 100}, heterogeneous(), Options{Slots: 2, MaxPositions: 10})
	if err != nil {
		t.Fatal(err)
	}
	if fake.AllocN(2); fake.CanShare() || fake.Share(1, 0, 0) == nil {
		t.Error("want a device that cannot share refused")
	}
}
