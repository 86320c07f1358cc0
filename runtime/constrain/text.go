package constrain

import (
	"fmt"
	"unicode/utf8"
)

// text adds the paths of strings.
func (c *compiler) text(from, to int32, s *members, at string) error {
	least, err := s.count("minLength", 0, at)
	if err != nil {
		return err
	}
	most, err := s.count("maxLength", -1, at)
	if err != nil {
		return err
	}
	pattern, ok := s.values["pattern"]
	format, also := s.values["format"]
	switch {
	case ok && also:
		return fmt.Errorf("%s: is not supported beside pattern", name(at+"/format"))
	case also:
		pattern = "^(?:" + formats[textOf(format)] + ")$"
	}
	if ok || also {
		expression, ok := pattern.(string)
		if !ok {
			return fmt.Errorf("%s: want a regular expression, got %s", name(at+"/pattern"), clip(compact(pattern)))
		}
		inside := c.p.addState()
		if err := c.pattern(c.then(from, '"'), inside, expression, least, most); err != nil {
			keyword := "/pattern"
			if also {
				keyword = "/format"
			}
			return fmt.Errorf("%s: %w", name(at+keyword), err)
		}
		c.p.oneOf(inside, to, `"`)
		return nil
	}
	if least == 0 && most < 0 {
		c.p.call(from, to, c.anyText())
		return nil
	}
	inside := c.then(from, '"')
	for n := 0; ; n++ {
		if n >= least {
			c.p.oneOf(inside, to, `"`)
		}
		if n == most {
			return nil
		}
		next := inside
		if n < least || most >= 0 {
			next = c.p.addState()
		}
		c.plain(inside, next, nil)
		c.p.call(inside, next, c.unplain())
		if next == inside {
			return nil
		}
		if inside = next; c.p.full() {
			return errTooLarge
		}
	}
}

// anyText is the rule of any string.
func (c *compiler) anyText() int32 {
	return c.share("text", func(from, to int32) {
		inside := c.then(from, '"')
		c.plain(inside, inside, nil)
		c.p.call(inside, inside, c.unplain())
		c.p.oneOf(inside, to, `"`)
	})
}

// unplain is the rule of the characters of a string that are not plain: escapes, and characters
// of more than one byte.
func (c *compiler) unplain() int32 {
	return c.share("unplain", func(from, to int32) {
		c.p.byteRange(from, to, 0x7f, 0x7f)
		for _, r := range [][2]rune{{0x80, 0xd7ff}, {0xe000, utf8.MaxRune}} {
			c.utf8Range(from, to, r[0], r[1])
		}
		escape := c.then(from, '\\')
		c.p.oneOf(escape, to, `"\/bfnrt`)
		u := c.then(escape, 'u')
		// Four hexadecimal digits. Those from d800 to dfff are halves of a pair.
		c.p.oneOf(c.hexIn(c.hexIn(c.hexIn(u, "0123456789abcefABCEF"), hexDigits), hexDigits), to, hexDigits)
		d := c.hexIn(u, "dD")
		c.p.oneOf(c.hexIn(c.hexIn(d, "01234567"), hexDigits), to, hexDigits)
		high := c.hexIn(c.hexIn(c.hexIn(d, "89abAB"), hexDigits), hexDigits)
		low := c.hexIn(c.then(c.then(high, '\\'), 'u'), "dD")
		c.p.oneOf(c.hexIn(c.hexIn(low, "cdefCDEF"), hexDigits), to, hexDigits)
	})
}

const hexDigits = "0123456789abcdefABCDEF"

// hexIn adds one of some digits and gives the state behind it.
func (c *compiler) hexIn(from int32, digits string) int32 {
	to := c.p.addState()
	c.p.oneOf(from, to, digits)
	return to
}

// utf8Range adds the paths of the characters from lo to hi, both of them characters, in UTF-8.
func (c *compiler) utf8Range(from, to int32, lo, hi rune) {
	for _, most := range []rune{0x7f, 0x7ff, 0xffff} { // of one length
		if lo <= most && most < hi {
			c.utf8Range(from, to, lo, most)
			c.utf8Range(from, to, most+1, hi)
			return
		}
	}
	c.byteStrings(from, to, string(lo), string(hi))
}

// byteStrings adds the paths of the strings from lo to hi, of one length, whose bytes behind
// the first one are continuation bytes of UTF-8.
func (c *compiler) byteStrings(from, to int32, lo, hi string) {
	if len(lo) == 1 {
		c.p.byteRange(from, to, lo[0], hi[0])
		return
	}
	low, high := "", ""
	for range len(lo) - 1 {
		low, high = low+"\x80", high+"\xbf"
	}
	step := func(a, b byte, lo, hi string) {
		next := c.p.addState()
		c.p.byteRange(from, next, a, b)
		c.byteStrings(next, to, lo, hi)
	}
	a, b := lo[0], hi[0]
	if a == b {
		step(a, a, lo[1:], hi[1:])
		return
	}
	if lo[1:] != low {
		step(a, a, lo[1:], high)
		a++
	}
	if hi[1:] != high {
		step(b, b, low, hi[1:])
		b--
	}
	if a <= b {
		step(a, b, low, high)
	}
}
