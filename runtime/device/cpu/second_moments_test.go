package cpu

import (
	"math"
	"testing"
)

// The moments are those of the definition, are added to what is there, and are symmetric, for
// more columns than a band has, and more rows than are computed at a time.
func TestSecondMoments(t *testing.T) {
	d, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, size := range [][2]int{{1, 1}, {7, 65}, {prefillRows + 3, momentBand + 70}, {3, 2*momentBand + 1}} {
		n, c := size[0], size[1]
		x := randomBuffer(5, n+1, c)
		sums := make([]float64, c*c)
		for i := range sums {
			sums[i] = 1
		}
		d.SecondMoments(sums, x, n)
		for i := range c {
			for j := range c {
				want := 1.0
				for r := range n {
					want += float64(x.row(r)[i]) * float64(x.row(r)[j])
				}
				if got := sums[i*c+j]; math.Abs(got-want) > 1e-4*math.Sqrt(float64(n)) || got != sums[j*c+i] {
					t.Fatalf("%d rows of %d columns: [%d %d]: want %v, got %v and %v", n, c, i, j, want, got, sums[j*c+i])
				}
			}
		}
	}
}
