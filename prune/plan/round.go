package plan

import (
	"math"
	"math/big"
	"strconv"
)

// roundEven rounds half to even and clamps to [0, limit]. A negative limit gives 0.
func roundEven(x float64, limit int) int {
	return int(max(0, min(math.RoundToEven(x), float64(limit))))
}

// quotient returns the product of num divided by den, correctly rounded however large
// the product is.
func quotient(den int64, num ...int64) float64 {
	n := big.NewInt(1)
	for _, x := range num {
		n.Mul(n, big.NewInt(x))
	}
	q, _ := new(big.Rat).SetFrac(n, big.NewInt(den)).Float64()
	return q
}

// sixDecimals rounds to six decimals, half to even on the exact binary value.
func sixDecimals(x float64) float64 {
	y, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 6, 64), 64)
	if err != nil {
		return x // so large that there is nothing to round
	}
	return y
}

// nearestMultiple returns the multiple of n that is nearest to x, the lower one of two
// equally near ones, at least n and at most current. If current < n, it returns current.
func nearestMultiple(x float64, n, current int) int {
	return clampMultiple(math.Ceil(x/float64(n)-0.5), n, current)
}

// multipleBelow is like nearestMultiple but always rounds down.
func multipleBelow(x float64, n, current int) int {
	return clampMultiple(math.Floor(x/float64(n)), n, current)
}

func clampMultiple(k float64, n, current int) int {
	if current < n {
		return current
	}
	return n * int(max(1, min(k, float64(current/n))))
}
