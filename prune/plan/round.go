package plan

import (
	"math"
	"math/big"
	"strconv"
)

// roundEven rounds half to even and clamps to [0, limit]; a negative limit
// gives 0.
//
// Products that are added to anything are wrapped in float64() throughout this
// package, so that no compiler fuses them and every machine gets the same bits.
func roundEven(x float64, limit int) int {
	return int(max(0, min(math.RoundToEven(x), float64(limit))))
}

// quotient is the product of num over den, correctly rounded however large the
// product is.
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
		return x // beyond every float64, where nothing is left to round
	}
	return y
}

// nearestMultiple is the multiple of n nearest to x, a tie going down, at least
// n and at most present. Where present < n there is none: present stays.
func nearestMultiple(x float64, n, present int) int {
	return clampMultiple(math.Ceil(x/float64(n)-0.5), n, present)
}

// multipleBelow is nearestMultiple that always goes down.
func multipleBelow(x float64, n, present int) int {
	return clampMultiple(math.Floor(x/float64(n)), n, present)
}

func clampMultiple(k float64, n, present int) int {
	if present < n {
		return present
	}
	return n * int(max(1, min(k, float64(present/n))))
}
