//go:build cudaemu && !cuda

package cuda

import (
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
)

// Operands of the wrong shape are refused with an error that names them.
func TestLinearRefusesWrongOperands(t *testing.T) {
	for name, bad := range map[string]func(p *devicePair, w device.Weight, x, y, u *matrixPair, ad *device.Adapter){
		"y: want [4 6]": func(p *devicePair, w device.Weight, x, y, u *matrixPair, ad *device.Adapter) {
			p.dev.LinearForward(x.dev, u.dev, x.dev, 4, w, ad, false)
		},
		"u: want [4 3]": func(p *devicePair, w device.Weight, x, y, u *matrixPair, ad *device.Adapter) {
			p.dev.LinearForward(y.dev, y.dev, x.dev, 4, w, ad, false)
		},
		"want a dropout over 4 rows, got spans of 3": func(p *devicePair, w device.Weight, x, y, u *matrixPair, ad *device.Adapter) {
			ad.Drop.Spans[0].Len = 3
			p.dev.LinearForward(y.dev, u.dev, x.dev, 4, w, ad, false)
		},
		"want a dropout in [0, 1)": func(p *devicePair, w device.Weight, x, y, u *matrixPair, ad *device.Adapter) {
			ad.Drop.Probability = 1
			p.dev.LinearForward(y.dev, u.dev, x.dev, 4, w, ad, false)
		},
		"want a token below 6, got 6": func(p *devicePair, w device.Weight, x, y, u *matrixPair, ad *device.Adapter) {
			p.dev.CrossEntropy(make([]float64, 1), nil, nil, x.dev, w, []int{6}, nil)
		},
		"linear: want stored weights, got the float32 parameter [6 5]": func(p *devicePair, w device.Weight, x, y, u *matrixPair, ad *device.Adapter) {
			b, _ := p.dev.Buffer(6, 5)
			p.dev.Linear(device.Prefill, y.dev, x.dev, 4, p.dev.Parameter(b, false))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := OpenEmulated(1, 1<<28)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			p := newDevicePair(t, 11, 1)
			p.dev = d
			_, w, _, _ := p.weightPair(checkpoint.BF16, 6, 5)
			x, y, u := p.guardedMatrix(4, 5, one), p.guardedMatrix(4, 6, one), p.guardedMatrix(4, 3, one)
			ad := &device.Adapter{A: p.plainMatrix(3, 5, one).dev, B: p.plainMatrix(6, 3, one).dev, Scale: 1}
			ad.Drop = device.Dropout{Probability: 0.5, Keys: []uint64{1}, Spans: []device.Span{{Len: 4}}}
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			bad(p, w, x, y, u, ad)
			if err := d.Sync(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("want %q, got %v", name, err)
			}
		})
	}
}
