package constrain

import (
	"fmt"
	"math/bits"
	"strconv"
)

// array adds the paths of arrays.
func (c *compiler) array(from, to int32, s *members, at string) error {
	least, err := s.count("minItems", 0, at)
	if err != nil {
		return err
	}
	most, err := s.count("maxItems", -1, at)
	if err != nil {
		return err
	}
	items, rest, err := c.items(s, at)
	if err != nil {
		return err
	}
	unique, err := c.uniqueItems(s, most, len(items), at)
	if err != nil {
		return err
	}
	open := c.then(from, '[')
	if least == 0 {
		c.p.oneOf(c.spaced(open), to, "]")
	}
	if most == 0 {
		return nil
	}
	next := c.spaced(open) // where an item begins
	if unique != nil {
		return c.permutations(next, to, unique, least, most)
	}
	for n := 1; ; n++ {
		item := rest
		if n <= len(items) {
			item = items[n-1]
		}
		behind := c.p.addState()
		c.p.call(next, behind, item)
		if n >= least {
			c.p.oneOf(c.spaced(behind), to, "]")
		}
		if n == most {
			return nil
		}
		comma := c.then(behind, ',')
		if most < 0 && n >= least && n > len(items) { // any number of items
			c.p.call(comma, next, c.space())
			return nil
		}
		next = c.spaced(comma)
		if c.p.full() {
			return errTooLarge
		}
	}
}

// items gives the rules of the first items of an array, and that of those behind them.
func (c *compiler) items(s *members, at string) (first []int32, rest int32, err error) {
	if v, ok := s.values["prefixItems"]; ok {
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return nil, 0, fmt.Errorf("%s: want an array of schemas, got %s", name(at+"/prefixItems"), clip(compact(v)))
		}
		for i, schema := range list {
			r, err := c.rule(schema, at+"/prefixItems/"+strconv.Itoa(i))
			if err != nil {
				return nil, 0, err
			}
			first = append(first, r)
		}
	}
	if schema, ok := s.values["items"]; ok {
		rest, err = c.rule(schema, at+"/items")
		return first, rest, err
	}
	return first, c.any(), nil
}

// maxUnique is how many different items an array may have whose items are unique.
const maxUnique = 10

// uniqueItems gives the texts of the items of an array in which all of them differ, those of equal
// values together; nil where they may be equal, or where there is at most one.
func (c *compiler) uniqueItems(s *members, most, first int, at string) (texts [][]string, err error) {
	v, ok := s.values["uniqueItems"]
	if !ok || v == false {
		return nil, nil
	}
	if v != true {
		return nil, fmt.Errorf("%s: want true or false, got %s", name(at+"/uniqueItems"), clip(compact(v)))
	}
	if most == 0 || most == 1 {
		return nil, nil
	}
	refused := fmt.Errorf("%s: is supported where the items are of at most %d known values, such as those of an enum", name(at+"/uniqueItems"), maxUnique)
	values, ok := c.knownValues(s.values["items"], at+"/items")
	if !ok || first > 0 {
		return nil, refused
	}
	index := map[string]int{}
	for _, v := range values {
		key, ok := canonical(v)
		if !ok {
			return nil, refused
		}
		i, again := index[key]
		if !again {
			i = len(texts)
			index[key], texts = i, append(texts, nil)
		}
		texts[i] = append(texts[i], compact(v))
	}
	if len(texts) > maxUnique {
		return nil, refused
	}
	if texts == nil { // no item is valid
		texts = [][]string{}
	}
	return texts, nil
}

// knownValues lists the values of a schema that has been compiled, where it names all of them.
func (c *compiler) knownValues(schema any, at string) (list []any, ok bool) {
	s, ok := schema.(*members)
	if !ok || !c.mayLook() {
		return nil, schema == false
	}
	if ref, ok := s.values["$ref"]; ok {
		pointer, schema, err := c.target(ref)
		if err != nil {
			return nil, false
		}
		return c.knownValues(schema, pointer)
	}
	for _, k := range []string{"anyOf", "oneOf", "allOf"} {
		schemas, ok := s.values[k].([]any)
		if !ok {
			continue
		}
		for _, schema := range schemas {
			more, ok := c.knownValues(schema, at)
			if !ok {
				return nil, false
			}
			list = append(list, more...)
		}
		return list, true
	}
	if all, ok := s.constants(); ok {
		of, err := s.ofTypes(all, at)
		return of, err == nil
	}
	if _, ok := s.values["type"]; !ok {
		return nil, false
	}
	types, err := s.types(at)
	for _, t := range types {
		switch t {
		case "null":
			list = append(list, nil)
		case "boolean":
			list = append(list, false, true)
		default:
			return nil, false
		}
	}
	return list, err == nil
}

// constants are the values that a schema names.
func (s *members) constants() (list []any, ok bool) {
	if v, ok := s.values["const"]; ok {
		return []any{v}, true
	}
	list, ok = s.values["enum"].([]any)
	return list, ok
}

// permutations adds the paths of the items of an array behind each other, each of them at most once.
// texts are those of each item.
func (c *compiler) permutations(from, to int32, texts [][]string, least, most int) error {
	rules := make([]int32, len(texts))
	for i, list := range texts {
		rules[i] = c.p.addRule()
		c.p.literals(c.p.rules[rules[i]].start, c.p.rules[rules[i]].end, list)
	}
	// begin is where an item begins behind a set of items, behind where it ends.
	begin, behind := make([]int32, 1<<len(texts)), make([]int32, 1<<len(texts))
	for set := range begin {
		n := bits.OnesCount(uint(set))
		if most >= 0 && n > most {
			continue
		}
		if begin[set] = from; set > 0 {
			if n >= least {
				c.p.oneOf(c.spaced(behind[set]), to, "]")
			}
			if n == most {
				continue
			}
			begin[set] = c.spaced(c.then(behind[set], ','))
		}
		for i, rule := range rules {
			with := set | 1<<i
			if with == set {
				continue
			}
			if behind[with] == 0 { // which is no state of a permutation
				behind[with] = c.p.addState()
			}
			c.p.call(begin[set], behind[with], rule)
		}
		if c.p.full() {
			return errTooLarge
		}
	}
	return nil
}
