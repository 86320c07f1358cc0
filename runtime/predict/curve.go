package predict

import (
	"cmp"
	"slices"
)

// curve is a function of one variable, linear between its points.
type curve []point

type point struct{ x, y float64 }

// newCurve sorts points and takes the mean of those with the same x.
func newCurve(points []point) curve {
	slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.x, b.x) })
	var c curve
	for i := 0; i < len(points); {
		sum, n := 0.0, 0
		x := points[i].x
		for ; i < len(points) && points[i].x == x; i++ {
			sum, n = sum+points[i].y, n+1
		}
		c = append(c, point{x, sum / float64(n)})
	}
	return c
}

// at interpolates. Outside of the points it continues their first or last segment, but
// not below 0.
func (c curve) at(x float64) float64 {
	switch len(c) {
	case 0:
		return 0
	case 1:
		return c[0].y
	}
	i, exact := slices.BinarySearchFunc(c, x, func(p point, x float64) int { return cmp.Compare(p.x, x) })
	if exact {
		return c[i].y
	}
	i = min(max(i, 1), len(c)-1)
	a, b := c[i-1], c[i]
	return max(0, a.y+(b.y-a.y)*(x-a.x)/(b.x-a.x))
}
