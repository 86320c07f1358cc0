package report

import (
	"fmt"
	"math"
	"strconv"
)

// decimals gives four significant digits without an exponent.
func decimals(x float64) int {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return max(0, min(6, 3-int(math.Floor(math.Log10(math.Abs(x))))))
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', decimals(x), 64) }

// optional shows an absent value as a dash.
func optional(x *float64, show func(float64) string) string {
	if x == nil {
		return "-"
	}
	return show(*x)
}

func fixed2(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

func percent(x float64) string { return strconv.FormatFloat(100*x, 'f', 1, 64) + " %" }

// plusMinus gives the deviation the digits of the value.
func plusMinus(x float64, sd *float64) string {
	if sd == nil {
		return number(x)
	}
	return fmt.Sprintf("%s ± %.*f", number(x), decimals(x), *sd)
}

// count writes parameters as "6.74 B", thousands being 1000.
func count(n int64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "B"}, {1e6, "M"}, {1e3, "K"}} {
		if math.Abs(float64(n)) >= u.size {
			return fixed2(float64(n)/u.size) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// size writes bytes as "12.55 GiB".
func size(n int64) string {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<u.shift {
			return fixed2(float64(n)/float64(int64(1)<<u.shift)) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}
