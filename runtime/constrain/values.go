package constrain

import "strings"

// Limits of what is generated, so that a model cannot go on without an end.
const (
	maxDigits   = 18 // of an integer, and of a fraction
	maxExponent = 2  // digits
	maxIndent   = 32 // spaces behind a line feed
)

// space is the rule of white space between tokens of JSON: nothing, a space, or a line feed and
// some spaces.
func (c *compiler) space() int32 {
	return c.share("space", func(from, to int32) {
		c.p.skip(from, to)
		c.p.oneOf(from, to, " ")
		at := c.p.addState()
		c.p.oneOf(from, at, "\n")
		for range maxIndent {
			next := c.p.addState()
			c.p.skip(at, to)
			c.p.oneOf(at, next, " ")
			at = next
		}
		c.p.skip(at, to)
	})
}

// spaced adds white space and gives the state behind it.
func (c *compiler) spaced(from int32) int32 {
	to := c.p.addState()
	c.p.call(from, to, c.space())
	return to
}

// then adds one byte and gives the state behind it.
func (c *compiler) then(from int32, b byte) int32 {
	to := c.p.addState()
	c.p.byteRange(from, to, b, b)
	return to
}

// number is the rule of numbers.
func (c *compiler) number() int32 {
	return c.share("number", func(from, to int32) {
		whole := c.p.addState()
		c.anyInteger(from, whole)
		c.p.skip(whole, to)
		fraction := c.p.addState()
		c.digits(c.then(whole, '.'), fraction, 1, maxDigits)
		c.p.skip(fraction, to)
		sign := c.p.addState()
		c.p.oneOf(whole, sign, "eE")
		c.p.oneOf(fraction, sign, "eE")
		digits := c.p.addState()
		c.p.skip(sign, digits)
		c.p.oneOf(sign, digits, "+-")
		c.digits(digits, to, 1, maxExponent)
	})
}

// anyInteger adds the paths of integers of at most maxDigits digits.
func (c *compiler) anyInteger(from, to int32) {
	digits := c.p.addState()
	c.p.skip(from, digits)
	c.p.oneOf(from, digits, "-")
	c.p.oneOf(digits, to, "0")
	rest := c.p.addState()
	c.p.byteRange(digits, rest, '1', '9')
	c.digits(rest, to, 0, maxDigits-1)
}

// digits adds the paths of at least and at most so many digits.
func (c *compiler) digits(from, to int32, least, most int) {
	for n := 0; ; n++ {
		if n >= least {
			c.p.skip(from, to)
		}
		if n == most {
			return
		}
		next := c.p.addState()
		c.p.byteRange(from, next, '0', '9')
		from = next
	}
}

// between adds the paths of the whole numbers from low to high, which are not negative.
func (c *compiler) between(from, to int32, low, high string) {
	for n := len(low); n <= len(high); n++ {
		a, b := low, high
		if n > len(low) {
			a = "1" + strings.Repeat("0", n-1)
		}
		if n < len(high) {
			b = strings.Repeat("9", n)
		}
		c.sameLength(from, to, a, b)
	}
}

// sameLength is between for numbers with as many digits.
func (c *compiler) sameLength(from, to int32, low, high string) {
	behind := func(a byte, b byte) int32 {
		next := to
		if len(low) > 1 {
			next = c.p.addState()
		}
		c.p.byteRange(from, next, a, b)
		return next
	}
	zeros, nines := strings.Repeat("0", len(low)-1), strings.Repeat("9", len(low)-1)
	a, b := low[0], high[0]
	switch {
	case len(low) == 1:
		behind(a, b)
		return
	case a == b:
		c.sameLength(behind(a, a), to, low[1:], high[1:])
		return
	}
	if low[1:] != zeros {
		c.sameLength(behind(a, a), to, low[1:], nines)
		a++
	}
	if high[1:] != nines {
		c.sameLength(behind(b, b), to, zeros, high[1:])
		b--
	}
	if a <= b {
		c.digits(behind(a, b), to, len(low)-1, len(low)-1)
	}
}
