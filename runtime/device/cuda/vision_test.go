//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
	"mop/runtime/device/reference"
	"mop/runtime/device/tolerance"
)

var activations = map[device.Activation]func(float64) float64{
	device.Identity:  func(z float64) float64 { return z },
	device.QuickGELU: reference.QuickGELU[float64],
	device.GELU:      reference.GELU[float64],
	device.GELUTanh:  reference.GELUTanh[float64],
}

// eachVisionCase runs a test with every set of kernels, type and order of threads.
func eachVisionCase(t *testing.T, sizes [][3]int, test func(t *testing.T, d *Device, r *rand.Rand, dt checkpoint.DType, size [3]int)) {
	for _, size := range sizes {
		for _, dt := range types {
			for _, set := range sets(t) {
				for _, o := range orders {
					t.Run(fmt.Sprintf("%v/%v/%s/%d", size, dt, set, o), func(t *testing.T) {
						d := openSet(t, o, set)
						test(t, d, rand.New(rand.NewPCG(uint64(size[0]*1000+size[1]), o)), dt, size)
						if err := d.Sync(); err != nil {
							t.Error(err)
						}
					})
				}
			}
		}
	}
}

func TestVisionLayerNorm(t *testing.T) {
	sizes := [][3]int{{1, 1}, {3, 7}, {5, 64}, {2, 1025}, {4, 1664}, {9, 130}}
	eachVisionCase(t, sizes, func(t *testing.T, d *Device, r *rand.Rand, dt checkpoint.DType, size [3]int) {
		N, D := size[0], size[1]
		gain, bias, x := randomMatrix(r, 1, D, dt), randomMatrix(r, 1, D, dt), normal(r, N*D)
		for i := range x { // a mean that is large beside the differences
			x[i] = float64(float32(x[i] + 30))
		}
		want := make([]float64, N*D)
		reference.LayerNorm(want, x, gain.v, bias.v, N, D, epsilon)
		in := floats(t, d, N, D, x)
		for _, y := range []*buffer{floats(t, d, N, D, nil), emptyInner(t, d, N, D)} {
			d.LayerNorm(y, in, N, gain.place(t, d, true), bias.place(t, d, true), epsilon)
			w := worst{what: fmt.Sprintf("layer norm to %d bytes", y.size)}
			for i, v := range read(d, y) {
				// x - mean is off by the rounding of x and of the mean.
				s := tolerance.Sum{Magnitude: math.Abs(want[i]) + math.Abs(gain.v[i%D])*40/math.Sqrt(epsilon), Terms: D, Stored: y.size == 2}
				w.see(i/D, i%D, want[i], float64(v), s.Allow(want[i], dt)+0x1p-24)
			}
			w.report(t)
			zeroTails(t, d, "layer norm", y)
		}
	})
}

func TestVisionLinear(t *testing.T) {
	sizes := [][3]int{{1, 1, 1}, {3, 7, 5}, {17, 40, 131}, {9, 588, 33}, {70, 96, 72}, {2, 70, 200}}
	eachVisionCase(t, sizes, func(t *testing.T, d *Device, r *rand.Rand, dt checkpoint.DType, size [3]int) {
		N, in, out := size[0], size[1], size[2]
		w, bias, x := randomMatrix(r, out, in, dt), randomMatrix(r, 1, out, dt), randomMatrix(r, N, in, dt)
		m, b := w.place(t, d, false), bias.place(t, d, true)
		check := func(what string, y *buffer, f func(float64) float64, start []float64) {
			t.Helper()
			sum, got := worst{what: what}, read(d, y)
			for i, v := range got {
				z, s := product(w.row(i%out), x.row(i/out), false)
				z += bias.v[i%out]
				s.Magnitude += math.Abs(bias.v[i%out])
				want := f(z)
				allow := 1.2*s.Allow(z, dt) + 0x1p-21*math.Abs(z) // no derivative is above 1.13
				if start != nil {
					want += start[i]
					allow += 0x1p-23 * math.Abs(start[i])
				}
				if y.size == 2 {
					allow += unit(dt)*(math.Abs(want)+allow) + 0x1p-24
				}
				sum.see(i/out, i%out, want, float64(v), allow)
			}
			sum.report(t)
			zeroTails(t, d, what, y)
		}
		half, wide := x.inner(t, d), floats(t, d, N, in, x.v)
		for f, exact := range activations {
			for i, y := range []*buffer{floats(t, d, N, out, nil), emptyInner(t, d, N, out)} {
				from := half
				if i == int(f)%2 {
					from = wide
				}
				d.LinearBias(y, from, N, m, b, f)
				check(fmt.Sprintf("%v to %d bytes", f, y.size), y, exact, nil)
			}
		}
		start := normal(r, N*out)
		y := floats(t, d, N, out, start)
		d.AddLinearBias(y, half, N, m, b)
		check("add", y, activations[device.Identity], start)
	})
}

func TestVisionAttention(t *testing.T) {
	sizes := [][3]int{{1, 1, 1}, {50, 3, 7}, {65, 2, 64}, {64, 1, 16}, {130, 2, 80}, {129, 1, 128}, {33, 2, 10}, {5, 2, 104}}
	eachVisionCase(t, sizes, func(t *testing.T, d *Device, r *rand.Rand, dt checkpoint.DType, size [3]int) {
		N, H, Dh := size[0], size[1], size[2]
		D := H * Dh
		qkv := randomMatrix(r, N, 3*D, dt)
		for i := range qkv.v {
			qkv.v[i] = round16(2*qkv.v[i], dt)
		}
		part := func(i int) (out []float64) {
			for row := range N {
				out = append(out, qkv.row(row)[i*D:(i+1)*D]...)
			}
			return out
		}
		want := make([]float64, N*D)
		reference.BidirectionalAttention(want, part(0), part(1), part(2), N, H, Dh)
		a := emptyInner(t, d, N, D)
		d.BidirectionalAttention(a, qkv.inner(t, d), N, H, Dh)
		w, largest := worst{what: "attention"}, 0.0
		for _, v := range part(2) {
			largest = max(largest, math.Abs(v))
		}
		for i, v := range read(d, a) {
			// A weight is rounded, and its score of up to some tens is off in the last bits.
			allow := largest * (unit(dt) + (8+math.Sqrt(float64(Dh)))*0x1p-18)
			w.see(i/D, i%D, want[i], float64(v), allow+unit(dt)*(math.Abs(want[i])+allow))
		}
		w.report(t)
		zeroTails(t, d, "attention", a)
	})
}

// A biased product gives the same bits with every tile and thread order.
func TestVisionTiles(t *testing.T) {
	const N, in, out = 200, 131, 203
	for _, set := range sets(t) {
		for _, dt := range types {
			t.Run(fmt.Sprintf("%s/%v", set, dt), func(t *testing.T) {
				list := &mmaTiles
				if set == driver.SM90a {
					list = &wgmmaTiles
				}
				defer func(all []gemmTile) { *list = all }(*list)
				all := *list
				r := rand.New(rand.NewPCG(3, 4))
				w, bias, x, start := randomMatrix(r, out, in, dt), randomMatrix(r, 1, out, dt), randomMatrix(r, N, in, dt), normal(r, N*out)
				var want [][]float32
				for i, one := range all {
					*list = []gemmTile{one}
					for j, n := range []int{N, 83, 17, 1} {
						d := openSet(t, orders[(i+j)%len(orders)], set)
						m, b, h := w.place(t, d, false), bias.place(t, d, true), x.inner(t, d)
						half, sum := emptyInner(t, d, n, out), floats(t, d, n, out, start[:n*out])
						d.LinearBias(half, h, n, m, b, device.QuickGELU)
						d.AddLinearBias(sum, h, n, m, b)
						zeroTails(t, d, one.name, half)
						zeroTails(t, d, one.name, sum)
						got := [][]float32{read(d, half), read(d, sum)}
						if err := d.Sync(); err != nil {
							t.Fatal(err)
						}
						if want == nil {
							want = got
						}
						for k, v := range got {
							if !slices.Equal(v, want[k][:len(v)]) {
								t.Fatalf("result %d of %d rows by %s: want the same bits as with %s", k, n, one.name, all[0].name)
							}
						}
					}
				}
			})
		}
	}
}

// What an operation cannot take is refused before anything is launched.
func TestVisionRefusesWrongOperands(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	bf16 := func(d *Device, vector bool, shape ...int) device.Weight {
		return randomMatrix(r, shape[0], shape[1], checkpoint.BF16).place(t, d, vector)
	}
	for want, run := range map[string]func(d *Device, x, h *buffer){
		"layer norm: want y, x [3 8], x float32": func(d *Device, x, h *buffer) {
			d.LayerNorm(x, h, 3, bf16(d, true, 1, 8), bf16(d, true, 1, 8), 1e-5)
		},
		"w, b [8] of one type, got": func(d *Device, x, h *buffer) {
			d.LayerNorm(h, x, 3, bf16(d, true, 1, 8), randomMatrix(r, 1, 8, checkpoint.F16).place(t, d, true), 1e-5)
		},
		"linear with bias: want y [3 5], x [3 8] and b [5]": func(d *Device, x, h *buffer) {
			d.LinearBias(h, x, 3, bf16(d, false, 5, 8), bf16(d, true, 1, 5), device.Identity)
		},
		"linear with bias: want y [4 8]": func(d *Device, x, h *buffer) {
			d.LinearBias(h, x, 4, bf16(d, false, 8, 8), bf16(d, true, 1, 8), device.Identity)
		},
		"and b [8] of": func(d *Device, x, h *buffer) {
			d.LinearBias(h, x, 3, bf16(d, false, 8, 8), bf16(d, true, 1, 7), device.Identity)
		},
		"activation 9": func(d *Device, x, h *buffer) {
			d.LinearBias(h, x, 3, bf16(d, false, 8, 8), bf16(d, true, 1, 8), 9)
		},
		"add linear with bias: want y [3 8]": func(d *Device, x, h *buffer) {
			d.AddLinearBias(h, x, 3, bf16(d, false, 8, 8), bf16(d, true, 1, 8))
		},
		"bidirectional attention: want a [3 2] and qkv [3 6]": func(d *Device, x, h *buffer) { d.BidirectionalAttention(h, h, 3, 1, 2) },
		"bidirectional attention: want heads of at most 128 columns, got 1 of 136": func(d *Device, x, h *buffer) {
			d.BidirectionalAttention(h, h, 3, 1, 136)
		},
	} {
		d := open(t, orders[0])
		run(d, floats(t, d, 3, 8, nil), emptyInner(t, d, 3, 8))
		if err := d.Sync(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		d.err = nil // on a GPU the device is that of all tests
	}
}
