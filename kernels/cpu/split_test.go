package cpu

import "testing"

func TestSplit(t *testing.T) {
	for _, s := range sets() {
		for _, n := range []int{0, 1, 7, 8, 9, 16, 63, 64} {
			for _, add := range []bool{false, true} {
				x, y0, y1 := make([]float32, 2*n), make([]float32, n+1), make([]float32, n+1)
				for i := range x {
					x[i] = float32(i) + 0.25
				}
				for i := range y0 {
					y0[i], y1[i] = float32(1000+i), float32(2000+i)
				}
				s.Split(y0[:n], y1[:n], x, add)
				for i := range n {
					want0, want1 := float32(2*i)+0.25, float32(2*i+1)+0.25
					if add {
						want0, want1 = want0+float32(1000+i), want1+float32(2000+i)
					}
					if y0[i] != want0 || y1[i] != want1 {
						t.Fatalf("%v n %d add %v: pair %d: want %v %v, got %v %v", s, n, add, i, want0, want1, y0[i], y1[i])
					}
				}
				if y0[n] != float32(1000+n) || y1[n] != float32(2000+n) {
					t.Errorf("%v n %d add %v: wrote beyond", s, n, add)
				}
			}
		}
	}
}
