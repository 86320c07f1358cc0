package constrain

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// rationalOf is the value of a number that is not very large or small.
func rationalOf(v any) (*big.Rat, bool) {
	n, ok := v.(json.Number)
	if !ok || len(n) > 40 {
		return nil, false
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(n.String()), "e"); ok {
		if e, err := strconv.Atoi(exponent); err != nil || e < -40 || e > 40 {
			return nil, false
		}
	}
	return new(big.Rat).SetString(n.String())
}

// integerOf is the value of a number without a fraction that is not very large.
func integerOf(v any) (*big.Int, bool) {
	r, ok := rationalOf(v)
	if !ok || !r.IsInt() {
		return nil, false
	}
	return r.Num(), true
}

// limit is a bound of numbers, nil = there is none. An open one is no valid number itself.
type limit struct {
	*big.Rat
	open bool
}

// limits reads the bounds of a schema for numbers.
func (s *members) limits(at string) (least, most limit, err error) {
	for _, k := range keywords["number"] {
		v, ok := s.values[k]
		if !ok {
			continue
		}
		x, ok := rationalOf(v)
		if !ok {
			return least, most, fmt.Errorf("%s: want a number of at most 40 characters, got %s", name(at+"/"+k), clip(compact(v)))
		}
		open := strings.HasPrefix(k, "exclusive")
		side, inner := &most, -1
		if strings.HasSuffix(strings.ToLower(k), "minimum") {
			side, inner = &least, 1
		}
		if side.Rat == nil || x.Cmp(side.Rat) == inner || x.Cmp(side.Rat) == 0 && open {
			*side = limit{x, open}
		}
	}
	return least, most, nil
}

// integer adds the paths of integers within the limits of a schema.
func (c *compiler) integer(from, to int32, s *members, at string) error {
	least, most, err := s.limits(at)
	if err != nil {
		return err
	}
	factor := big.NewInt(1)
	if v, ok := s.values["multipleOf"]; ok {
		if factor, ok = integerOf(v); !ok || factor.Sign() <= 0 {
			return fmt.Errorf("%s: want a whole number above 0 of at most 40 characters, got %s", name(at+"/multipleOf"), clip(compact(v)))
		}
	} else if least.Rat == nil && most.Rat == nil {
		c.anyInteger(from, to)
		return nil
	}
	end := new(big.Int).Exp(big.NewInt(10), big.NewInt(maxDigits), nil)
	low, high := new(big.Int).Sub(big.NewInt(1), end), new(big.Int).Sub(end, big.NewInt(1))
	if least.Rat != nil { // the first integer that is not below it, or that is above it
		x := new(big.Int).Add(floor(least.Rat), big.NewInt(1))
		if !least.open && least.IsInt() {
			x.Set(least.Num())
		}
		if x.Cmp(low) > 0 {
			low = x
		}
	}
	if most.Rat != nil {
		x := floor(most.Rat)
		if most.open && most.IsInt() {
			x.Sub(x, big.NewInt(1))
		}
		if x.Cmp(high) < 0 {
			high = x
		}
	}
	m := &multiples{compiler: c, to: to}
	m.factor, m.zeros = withoutTens(factor)
	return m.signed(from, low, high)
}

// floor is the largest integer that is not above a number.
func floor(x *big.Rat) *big.Int {
	return new(big.Int).Div(x.Num(), x.Denom()) // rounds down, since the denominator is positive
}

// multiples adds the paths of multiples of factor * 10^zeros.
type multiples struct {
	*compiler
	to     int32
	factor *big.Int
	zeros  int
	states map[multipleAt]int32 // where a number of digits is left
}

// multipleAt is a place in a number whose other digits may be any: how many are left, and the
// remainder of those so far.
type multipleAt struct{ left, remainder int }

// withoutTens divides a number by ten as often as that leaves no fraction.
func withoutTens(n *big.Int) (rest *big.Int, tens int) {
	for rest = n; ; tens++ {
		q, r := new(big.Int).QuoRem(rest, big.NewInt(10), new(big.Int))
		if r.Sign() != 0 {
			return rest, tens
		}
		rest = q
	}
}

// signed adds the multiples from low to high.
func (m *multiples) signed(from int32, low, high *big.Int) error {
	one := big.NewInt(1)
	if low.Sign() < 0 {
		a := one
		if high.Sign() < 0 {
			a = new(big.Int).Neg(high)
		}
		if err := m.positive(m.then(from, '-'), a, new(big.Int).Neg(low)); err != nil {
			return err
		}
	}
	if low.Sign() <= 0 && high.Sign() >= 0 {
		m.p.oneOf(from, m.to, "0")
	}
	if high.Sign() <= 0 {
		return nil
	}
	if low.Sign() <= 0 {
		low = one
	}
	return m.positive(from, low, high)
}

// positive adds the multiples from low to high, which are above 0.
func (m *multiples) positive(from int32, low, high *big.Int) error {
	tens := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(m.zeros)), nil)
	low = new(big.Int).Div(new(big.Int).Add(low, new(big.Int).Sub(tens, big.NewInt(1))), tens)
	high = new(big.Int).Div(high, tens)
	if low.Cmp(high) > 0 {
		return nil
	}
	end := m.to
	if m.zeros > 0 {
		end = m.p.addState()
		m.p.literal(end, m.to, strings.Repeat("0", m.zeros))
	}
	m.states = map[multipleAt]int32{{0, 0}: end}
	if m.factor.Cmp(big.NewInt(1)) == 0 {
		m.between(from, end, low.String(), high.String())
		return nil
	}
	if !m.factor.IsInt64() || m.factor.Int64() > maxStates {
		return errTooLarge
	}
	a, b := low.String(), high.String()
	for n := len(a); n <= len(b); n++ {
		lo, hi := "1"+strings.Repeat("0", n-1), strings.Repeat("9", n)
		if n == len(a) {
			lo = a
		}
		if n == len(b) {
			hi = b
		}
		if err := m.digits(from, lo, hi, 0); err != nil {
			return err
		}
	}
	return nil
}

// digits adds the rests of a number from lo to hi, which have as many digits, behind digits with
// a remainder.
func (m *multiples) digits(from int32, lo, hi string, remainder int) error {
	if m.p.full() {
		return errTooLarge
	}
	zeros, nines := strings.Repeat("0", len(lo)-1), strings.Repeat("9", len(lo)-1)
	for d := lo[0]; d <= hi[0]; d++ {
		a, b := zeros, nines
		if d == lo[0] {
			a = lo[1:]
		}
		if d == hi[0] {
			b = hi[1:]
		}
		then := (10*remainder + int(d-'0')) % int(m.factor.Int64())
		at := multipleAt{len(a), then}
		next, known := m.states[at]
		switch {
		case a != zeros || b != nines: // not any digits
			next = m.p.addState()
			known = false
		case !known && at.left == 0:
			continue // no multiple
		case !known:
			next = m.p.addState()
			m.states[at] = next
		}
		m.p.byteRange(from, next, d, d)
		if !known {
			if err := m.digits(next, a, b, then); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxSignificant is how many digits a number with limits has. They are few enough that a number of
// 64 bits tells it from the limits.
const maxSignificant = 15

// decimal adds the paths of numbers within the limits of a schema. Where there are limits, the
// numbers have no exponent.
func (c *compiler) decimal(from, to int32, s *members, at string) error {
	if _, ok := s.values["multipleOf"]; ok {
		return fmt.Errorf("%s: is not supported for numbers, only for integers", name(at+"/multipleOf"))
	}
	least, most, err := s.limits(at)
	if err != nil {
		return err
	}
	if least.Rat == nil && most.Rat == nil {
		c.p.call(from, to, c.number())
		return nil
	}
	none := limit{new(big.Rat), false}
	end := limit{new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(maxSignificant), nil)), true}
	minus := func(l limit) limit { return limit{new(big.Rat).Neg(l.Rat), l.open} }
	if least.Rat == nil || least.Sign() < 0 { // numbers below 0
		low, high := limit{new(big.Rat), true}, end
		if most.Rat != nil && most.Sign() < 0 {
			low = minus(most)
		}
		if least.Rat != nil {
			high = minus(least)
		}
		c.magnitudes(c.then(from, '-'), to, low, high)
	}
	if most.Rat == nil || most.Sign() >= 0 {
		low, high := none, end
		if least.Rat != nil && least.Sign() >= 0 {
			low = least
		}
		if most.Rat != nil {
			high = most
		}
		c.magnitudes(from, to, low, high)
	}
	if c.p.full() {
		return errTooLarge
	}
	return nil
}

// magnitudes adds the paths of numbers without a sign from low to high.
func (c *compiler) magnitudes(from, to int32, low, high limit) {
	if end := new(big.Int).Exp(big.NewInt(10), big.NewInt(maxSignificant), nil); low.Cmp(new(big.Rat).SetInt(end)) < 0 && high.Cmp(new(big.Rat).SetInt(end)) >= 0 {
		high = limit{new(big.Rat).SetInt(end), true}
	}
	if order := low.Cmp(high.Rat); order > 0 || order == 0 && (low.open || high.open) {
		return
	}
	a, lowFraction := digitsOf(low.Rat)
	b, highFraction := digitsOf(high.Rat)
	f := &fractions{compiler: c, to: to, low: lowFraction, high: highFraction, openLow: low.open, openHigh: high.open}
	if a.Cmp(b) == 0 {
		f.begin(c.text10(from, a), a, true, true)
		return
	}
	f.begin(c.text10(from, a), a, true, false)
	f.begin(c.text10(from, b), b, false, true)
	first, last := new(big.Int).Add(a, big.NewInt(1)), new(big.Int).Sub(b, big.NewInt(1))
	if first.Cmp(last) > 0 {
		return
	}
	lo, hi := first.String(), last.String()
	for n := len(lo); n <= len(hi); n++ { // numbers between with n digits in front of the point
		x, y := "1"+strings.Repeat("0", n-1), strings.Repeat("9", n)
		if n == len(lo) {
			x = lo
		}
		if n == len(hi) {
			y = hi
		}
		whole := c.p.addState()
		c.between(from, whole, x, y)
		number, _ := new(big.Int).SetString(x, 10)
		f.begin(whole, number, false, false)
	}
}

// text10 adds the digits of a number and gives the state behind them.
func (c *compiler) text10(from int32, n *big.Int) int32 {
	to := c.p.addState()
	c.p.literal(from, to, n.String())
	return to
}

// digitsOf splits a number of 0 or more, which has a finite number of decimals, at its point.
func digitsOf(x *big.Rat) (whole *big.Int, fraction string) {
	whole = floor(x)
	rest := new(big.Rat).Sub(x, new(big.Rat).SetInt(whole))
	for rest.Sign() != 0 {
		rest.Mul(rest, big.NewRat(10, 1))
		digit := floor(rest)
		fraction += digit.String()
		rest.Sub(rest, new(big.Rat).SetInt(digit))
	}
	return whole, fraction
}

// fractions adds the decimals of numbers within limits. low and high are the decimals of the limits.
type fractions struct {
	*compiler
	to                int32
	low, high         string
	openLow, openHigh bool
}

// fractionAt is a place in the decimals: how many there are, and whether they are all those of a limit.
type fractionAt struct {
	n         int
	low, high bool
}

// begin adds the decimals behind the digits of a whole number. low and high say whether that is a
// limit's.
func (f *fractions) begin(from int32, whole *big.Int, low, high bool) {
	at := fractionAt{0, low, high}
	if f.ends(at) {
		f.p.skip(from, f.to)
	}
	most := max(maxSignificant-len(whole.String()), 0)
	if low {
		most = max(most, len(f.low))
	}
	if high {
		most = max(most, len(f.high))
	}
	if most > 0 {
		f.digits(f.then(from, '.'), at, most, map[fractionAt]int32{})
	}
}

// ends reports whether a number may end at a place.
func (f *fractions) ends(at fractionAt) bool {
	if at.low && (digitsFrom(f.low, at.n) || f.openLow) {
		return false
	}
	return !at.high || digitsFrom(f.high, at.n) || !f.openHigh
}

// digitsFrom reports whether decimals from the n-th on are not all 0.
func digitsFrom(decimals string, n int) bool { return n < len(decimals) } // which end with another digit

// digit is the n-th of some decimals.
func digit(decimals string, n int) byte {
	if n < len(decimals) {
		return decimals[n]
	}
	return '0'
}

// digits adds the decimals behind a place, up to most of them.
func (f *fractions) digits(from int32, at fractionAt, most int, states map[fractionAt]int32) {
	if at.n == most {
		return
	}
	lo, hi := byte('0'), byte('9')
	if at.low {
		lo = digit(f.low, at.n)
	}
	if at.high {
		hi = digit(f.high, at.n)
	}
	for d := lo; d <= hi; d++ {
		then := fractionAt{at.n + 1, at.low && d == lo, at.high && d == hi}
		next, known := states[then]
		if !known {
			next = f.p.addState()
			states[then] = next
			if f.ends(then) {
				f.p.skip(next, f.to)
			}
			f.digits(next, then, most, states)
		}
		f.p.byteRange(from, next, d, d)
	}
}

// canonical writes a value so that equal ones have equal texts. ok is false for numbers that are
// very large or small.
func canonical(v any) (text string, ok bool) {
	switch v := v.(type) {
	case json.Number:
		r, ok := rationalOf(v)
		if !ok {
			return "", false
		}
		return r.RatString(), true
	case []any:
		var parts []string
		for _, x := range v {
			part, ok := canonical(x)
			if !ok {
				return "", false
			}
			parts = append(parts, part)
		}
		return "[" + strings.Join(parts, ",") + "]", true
	case *members:
		var parts []string
		for _, n := range slices.Sorted(slices.Values(v.names)) {
			part, ok := canonical(v.values[n])
			if !ok {
				return "", false
			}
			parts = append(parts, compact(n)+":"+part)
		}
		return "{" + strings.Join(parts, ",") + "}", true
	}
	return compact(v), true
}
