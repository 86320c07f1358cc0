//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"slices"
	"testing"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// Clusters of four blocks give the bits of clusters of two, where both of their tiles of x have
// rows, where the second has few and where it has none, in prefill and in training.
func TestClustersOfFour(t *testing.T) {
	if !slices.Contains(sets(t), driver.SM90a) {
		t.Skip("no set with tiles of wgmma")
	}
	all := wgmmaTiles
	defer func() { wgmmaTiles = all }()
	for i, n := range []int{300, 130, 513} {
		for _, dt := range types {
			order := orders[i%len(orders)]
			t.Run(fmt.Sprintf("%d/%v/%d", n, dt, order), func(t *testing.T) {
				const out, in, rank = 300, 131, 5 // two tiles of W and a part of a third
				p := newDevicePairOfSet(t, 29, order, driver.SM90a)
				_, w, _, _ := p.weightPair(dt, out, in)
				_, gain := p.vector(dt, in)
				x, start := p.guardedMatrix(n, in, one), p.guardedMatrix(n, out, one)
				a, b, da, db := p.plainMatrix(rank, in, one), p.plainMatrix(out, rank, one), p.plainMatrix(rank, in, zero), p.plainMatrix(out, rank, zero)
				adapter := &device.Adapter{A: a.dev, B: b.dev, DA: da.dev, DB: db.dev, Scale: 0.7,
					Drop: device.Dropout{Probability: 0.3, Keys: []uint64{5}, Spans: []device.Span{{Len: n}}}}
				var want []float32
				for _, tile := range []gemmTile{all[0], tile256x4} {
					wgmmaTiles = []gemmTile{tile}
					y, sum := p.guardedMatrix(n, out, zero), p.guardedMatrix(n, out, zero)
					p.dev.Write(sum.dev, 0, start.v)
					p.dev.Linear(device.Prefill, y.dev, x.dev, n, w)
					p.dev.AddLinear(device.Prefill, sum.dev, x.dev, n, w)
					neurons := emptyInner(t, p.dev, n, out)
					p.dev.GateUp(device.Prefill, neurons, x.dev, n, gain, w, w, 1e-5)
					got := slices.Concat(p.deviceValues("y", y), p.deviceValues("sum", sum), read(p.dev, neurons))
					trained, inner, dx := p.guardedMatrix(n, out, zero), p.guardedMatrix(n, rank, zero), p.guardedMatrix(n, in, zero)
					p.dev.LinearForward(trained.dev, inner.dev, x.dev, n, w, adapter, false)
					p.dev.LinearBackward(dx.dev, nil, start.dev, x.dev, inner.dev, n, w, adapter, false)
					got = slices.Concat(got, p.deviceValues("trained y", trained), p.deviceValues("x'", dx))
					if want == nil {
						want = got
					}
					equal(t, tile.name, want, got)
				}
				if err := p.dev.Sync(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
