package constrain

import (
	"encoding/json"
	"fmt"
	"slices"
)

// maxLooks bounds how often schemas are looked at to find out how they relate, since a schema may
// refer to others many times.
const maxLooks = 1 << 14

// mayLook counts a look at a schema.
func (c *compiler) mayLook() bool {
	c.looks++
	return c.looks <= maxLooks
}

// checkExclusive refuses alternatives of which a value could satisfy two, as oneOf does not allow.
// Where no two can be satisfied at once, oneOf means the same as anyOf.
func (c *compiler) checkExclusive(schemas []any, at string) error {
	for j, b := range schemas {
		for i, a := range schemas[:j] {
			if !c.exclude(a, b, 0) {
				return fmt.Errorf("%s: a value could satisfy both %d and %d: want alternatives of different types, of different constants, or with a required property that tells them apart, or anyOf", name(at), i, j)
			}
		}
	}
	return nil
}

// exclude reports whether it is certain that no value satisfies both of two schemas. What they
// allow counts here, not the texts that are generated of it.
func (c *compiler) exclude(a, b any, depth int) bool {
	if a == false || b == false {
		return true
	}
	x, ok := a.(*members)
	y, also := b.(*members)
	if !ok || !also || depth > maxDepth || !c.mayLook() {
		return false
	}
	for range 2 {
		if list, ok := c.parts(x); ok {
			for _, part := range list {
				if !c.exclude(part, y, depth+1) {
					return false
				}
			}
			return true
		}
		x, y = y, x
	}
	common := kindsOf(x) & kindsOf(y)
	list, ok := x.constants()
	_, also = y.constants()
	switch {
	case common == 0:
		return true
	case ok && also:
		return !slices.ContainsFunc(list, func(v any) bool { return !excludeValue(v, y) })
	case ok || also: // a constant, which may satisfy the other schema
		return false
	}
	for k := kind(1); k <= common; k <<= 1 {
		if common&k != 0 && !c.excludeKind(k, x, y, depth) {
			return false
		}
	}
	return true
}

// parts lists the schemas one of which a value of a schema satisfies, where it is made of others.
func (c *compiler) parts(s *members) (list []any, ok bool) {
	if ref, ok := s.values["$ref"]; ok {
		_, schema, err := c.target(ref)
		return []any{schema}, err == nil
	}
	for _, k := range []string{"anyOf", "oneOf", "allOf"} { // allOf is supported with one only
		if list, ok = s.values[k].([]any); ok {
			return list, true
		}
	}
	return nil, false
}

// kind is a set of kinds of values. Numbers with and without a fraction are two kinds.
type kind uint

const (
	kindNull kind = 1 << iota
	kindBoolean
	kindString
	kindArray
	kindObject
	kindFraction
	kindInteger
	kindAll = 1<<iota - 1
)

// kindsOf is the set of the kinds of values that may satisfy a schema.
func kindsOf(s *members) kind {
	of := map[string]kind{"null": kindNull, "boolean": kindBoolean, "string": kindString, "array": kindArray, "object": kindObject, "number": kindFraction | kindInteger, "integer": kindInteger}
	types, all := kind(0), kind(kindAll)
	switch t := s.values["type"].(type) {
	case string:
		all = of[t]
	case []any:
		for _, x := range t {
			types |= of[textOf(x)]
		}
		all = types
	}
	list, ok := s.constants()
	if !ok {
		return all
	}
	types = 0
	for _, v := range list {
		if _, number := v.(json.Number); number { // a large one may be written with an exponent
			types |= kindFraction | kindInteger
		} else {
			types |= of[typeOf(v)]
		}
	}
	return types & all
}

// excludeValue reports whether it is certain that a value is none of the constants of a schema.
func excludeValue(v any, s *members) bool {
	list, _ := s.constants()
	a, ok := canonical(v)
	return ok && !slices.ContainsFunc(list, func(other any) bool {
		b, ok := canonical(other)
		return !ok || a == b
	})
}

// excludeKind is exclude for values of one kind.
func (c *compiler) excludeKind(k kind, x, y *members, depth int) bool {
	switch k {
	case kindObject:
		return c.excludeObjects(x, y, depth) || c.excludeObjects(y, x, depth)
	case kindFraction, kindInteger:
		return excludeNumbers(x, y) || excludeNumbers(y, x)
	}
	return false
}

// excludeObjects reports whether a property that x requires is not one that y allows with the
// same value.
func (c *compiler) excludeObjects(x, y *members, depth int) bool {
	required, _ := x.values["required"].([]any)
	for _, n := range required {
		a, known := propertyOf(x, textOf(n))
		b, also := propertyOf(y, textOf(n))
		switch {
		case known && also && c.exclude(a, b, depth+1):
			return true
		case !also && y.values["additionalProperties"] == false:
			return true
		}
	}
	return false
}

// propertyOf gives the schema of a property.
func propertyOf(s *members, name string) (schema any, ok bool) {
	if list, isObject := s.values["properties"].(*members); isObject {
		schema, ok = list.values[name]
	}
	return schema, ok
}

// excludeNumbers reports whether all numbers of x are below those of y.
func excludeNumbers(x, y *members) bool {
	_, most, err := x.limits("")
	least, _, other := y.limits("")
	if err != nil || other != nil || most.Rat == nil || least.Rat == nil {
		return false
	}
	order := most.Cmp(least.Rat)
	return order < 0 || order == 0 && (most.open || least.open)
}
