package report

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// ticks marks about as many even steps of 1, 2 or 5 times a power of ten.
type ticks struct {
	about int
	whole bool // no fractions: there is no layer 2.5
}

// Ticks implements plot.Ticker.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	step := evenStep((high - low) / float64(t.about))
	if t.whole {
		step = max(step, 1)
	}
	digits := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var out []plot.Tick
	// Multiples of an integer, and not sums of steps, keep 0.30000000000000004 away.
	for k := math.Ceil(low/step - 1e-9); k*step <= high+1e-9*step; k++ {
		out = append(out, plot.Tick{Value: k * step, Label: strconv.FormatFloat(k*step+0, 'f', digits, 64)})
	}
	return out
}

// evenStep is the smallest 1, 2 or 5 times a power of ten that is at least x;
// 1 where x is not a positive number.
func evenStep(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= x*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// logTicks is for an axis of decimal logarithms: it labels the powers of ten
// with their value and marks 2 to 9 times each. (The library's logarithmic
// scale places its axis label by the arithmetic mean, far off the middle.)
type logTicks struct{}

// Ticks implements plot.Ticker.
func (logTicks) Ticks(low, high float64) []plot.Tick {
	var out []plot.Tick
	for k := math.Ceil(low - 1e-9); k <= high+1e-9; k++ {
		out = append(out, plot.Tick{Value: k, Label: strconv.FormatFloat(math.Pow(10, k), 'g', 6, 64)})
		for m := 2.0; m < 10 && k+math.Log10(m) < high; m++ {
			out = append(out, plot.Tick{Value: k + math.Log10(m)})
		}
	}
	return out
}
