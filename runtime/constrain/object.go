package constrain

import (
	"fmt"
	"slices"
	"strings"
)

// property is a member that a schema names.
type property struct {
	name     string
	value    int32 // rule
	required bool
}

// object adds the paths of objects. Members have the order of the properties; those that are
// not required may be left out, and additional ones come last.
func (c *compiler) object(from, to int32, s *members, at string) error {
	properties, additional, err := c.properties(s, at)
	if err != nil {
		return err
	}
	// first is where no member came before, some where one did; -1 = that cannot be.
	first, some := c.then(from, '{'), int32(-1)
	for _, p := range properties {
		key, behind := c.p.addState(), c.p.addState()
		c.members(first, some, key)
		value := c.p.addState()
		c.p.literal(key, value, compact(p.name))
		c.value(value, behind, p.value)
		if p.required {
			first, some = -1, behind
		} else {
			if some >= 0 {
				c.p.skip(some, behind)
			}
			some = behind
		}
		if c.p.full() {
			return errTooLarge
		}
	}
	if additional >= 0 {
		if some < 0 {
			some = c.p.addState()
		}
		key, value := c.p.addState(), c.p.addState()
		c.members(first, some, key)
		c.otherName(key, value, properties)
		c.value(value, some, additional)
	}
	if first >= 0 {
		c.p.oneOf(c.spaced(first), to, "}")
	}
	if some >= 0 {
		c.p.oneOf(c.spaced(some), to, "}")
	}
	return nil
}

// members adds what stands in front of a key.
func (c *compiler) members(first, some, key int32) {
	if first >= 0 {
		c.p.call(first, key, c.space())
	}
	if some >= 0 {
		c.p.call(c.then(some, ','), key, c.space())
	}
}

// value adds what follows a key.
func (c *compiler) value(from, to, value int32) {
	colon := c.then(from, ':')
	at := c.p.addState()
	c.p.skip(colon, at)
	c.p.oneOf(colon, at, " ")
	c.p.call(at, to, value)
}

// properties lists the members that a schema names, and the rule of those that it does not
// name, -1 = there are none. A schema with properties has others only where
// additionalProperties allows them explicitly.
func (c *compiler) properties(s *members, at string) (list []property, additional int32, err error) {
	named := &members{}
	if v, ok := s.values["properties"]; ok {
		if named, ok = v.(*members); !ok {
			return nil, 0, fmt.Errorf("%s: want an object, got %s", name(at+"/properties"), clip(compact(v)))
		}
	}
	var required []string
	if v, ok := s.values["required"]; ok {
		names, ok := v.([]any)
		for _, x := range names {
			one, isText := x.(string)
			ok = ok && isText
			required = append(required, one)
		}
		if !ok {
			return nil, 0, fmt.Errorf("%s: want an array of names, got %s", name(at+"/required"), clip(compact(v)))
		}
	}
	additional = -1
	others, given := s.values["additionalProperties"]
	if given && others != false {
		if additional, err = c.rule(others, at+"/additionalProperties"); err != nil {
			return nil, 0, err
		}
	} else if !given && len(named.names) == 0 {
		additional = c.any()
	}
	for _, n := range named.names {
		value, err := c.rule(named.values[n], at+"/properties/"+escape(n))
		if err != nil {
			return nil, 0, err
		}
		list = append(list, property{n, value, slices.Contains(required, n)})
	}
	for i, n := range required {
		if _, ok := named.values[n]; ok || slices.Contains(required[:i], n) {
			continue
		}
		value := additional
		if !given {
			value = c.any()
		}
		if value < 0 {
			return nil, 0, fmt.Errorf("%s: %q is required, but not allowed by additionalProperties", name(at+"/required"), clip(n))
		}
		list = append(list, property{n, value, true})
	}
	return list, additional, nil
}

// escape makes a part of a JSON pointer of a name.
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// otherName adds the paths of names that are none of some properties, in quotation marks. They
// are of printable ASCII characters without escapes, so that two spellings of a name cannot be
// taken for two names.
func (c *compiler) otherName(from, to int32, properties []property) {
	free := c.p.addState() // behind what no property begins with
	c.plain(free, free, nil)
	c.p.oneOf(free, to, `"`)
	var names []string
	for _, p := range properties {
		if !strings.ContainsFunc(p.name, func(r rune) bool { return !isPlain(r) }) {
			names = append(names, p.name)
		}
	}
	slices.Sort(names)
	c.otherThan(c.then(from, '"'), to, free, names)
}

// otherThan adds the paths of the rest of a name that none of some rests continue to a property.
// names is sorted.
func (c *compiler) otherThan(from, to, free int32, names []string) {
	if len(names) == 0 || names[0] != "" {
		c.p.oneOf(from, to, `"`)
	}
	var taken []byte
	for i := 0; i < len(names); {
		if names[i] == "" {
			i++
			continue
		}
		b := names[i][0]
		var rest []string
		for ; i < len(names) && names[i][0] == b; i++ {
			rest = append(rest, names[i][1:])
		}
		taken = append(taken, b)
		c.otherThan(c.then(from, b), to, free, rest)
	}
	c.plain(from, free, taken)
}

// plain adds the paths of the plain characters but some.
func (c *compiler) plain(from, to int32, except []byte) {
	lo := 0x20
	for b := 0x20; b <= 0x7f; b++ {
		if b == 0x7f || !isPlain(rune(b)) || slices.Contains(except, byte(b)) {
			if lo < b {
				c.p.byteRange(from, to, byte(lo), byte(b-1))
			}
			lo = b + 1
		}
	}
}

// isPlain reports whether a character is printable ASCII that stands for itself in JSON.
func isPlain(r rune) bool { return r >= 0x20 && r < 0x7f && r != '"' && r != '\\' }
