package chat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/ardanlabs/jinja"
)

// The loops, methods and filters of lists and mappings.

// defined is a value that is asked for an attribute or item.
func (b *budget) defined(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	switch {
	case args[0].IsUndefined():
		return args[0], errors.New("an undefined value has no attributes")
	case args[0].IsString(): // the library copies a text to find a letter
		return args[0], b.charge(4 * len(args[0].AsString()))
	}
	return args[0], nil
}

// slice is a[start:stop:step] of a text or list, each bound none where it is absent.
func (b *budget) slice(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	v := args[0]
	bounds := make([]*int64, 3)
	for i, a := range args[1:] {
		switch {
		case a.IsInt():
			n := a.AsInt()
			bounds[i] = &n
		case !a.IsNone():
			return v, fmt.Errorf("a slice: want integers, got %s", kindOf(a))
		}
	}
	if bounds[2] != nil && *bounds[2] == 0 {
		return v, errors.New("a slice: the step is zero")
	}
	switch {
	case v.IsList():
		items := sliceOf(v.AsList().Items, bounds)
		return jinja.NewList(items), b.charge(listBytes * len(items))
	case v.IsString():
		if err := b.charge(4 * len(v.AsString())); err != nil {
			return v, err
		}
		return jinja.NewString(string(sliceOf([]rune(v.AsString()), bounds))), nil
	}
	return v, fmt.Errorf("a slice: want a text or a list, got %s", kindOf(v))
}

// sliceOf copies the items of a Python slice, whose step is not 0.
func sliceOf[T any](items []T, bounds []*int64) (out []T) {
	n, step := int64(len(items)), int64(1)
	if bounds[2] != nil {
		step = *bounds[2]
	}
	step = min(max(step, -n-1), n+1)
	low, high := int64(0), n // the range of the bounds
	if step < 0 {
		low, high = -1, n-1
	}
	at := func(bound *int64, absent int64) int64 {
		if bound == nil {
			return absent
		}
		i := *bound
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	start, stop := at(bounds[0], low), at(bounds[1], high)
	if step < 0 {
		start, stop = at(bounds[0], high), at(bounds[1], low)
	}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		out = append(out, items[i])
	}
	return out
}

// reverse is the filter reverse of a text or list.
func (b *budget) reverse(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	v := args[0]
	if !v.IsString() {
		var err error
		if v, err = b.items(args, nil); err != nil {
			return v, err
		}
	}
	return b.slice([]jinja.Value{v, jinja.None(), jinja.None(), jinja.NewInt(-1)}, nil)
}

// key is that of a mapping in the template.
func key(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if !args[0].IsString() {
		return args[0], fmt.Errorf("a mapping: want texts as keys, got %s", kindOf(args[0]))
	}
	return args[0], nil
}

// items are the values that a loop visits.
func (b *budget) items(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	switch v := args[0]; {
	case v.IsList():
		return v, b.visit()
	case v.IsUndefined():
		return jinja.NewList(nil), nil
	case v.IsDict():
		var keys []jinja.Value
		for _, key := range v.AsDict().Keys {
			keys = append(keys, jinja.NewString(key))
		}
		return jinja.NewList(keys), b.charge(listBytes * len(keys))
	case v.IsString():
		if len(v.AsString()) > b.steps {
			return v, errors.New("the template takes too many steps")
		}
		var letters []jinja.Value
		for _, r := range v.AsString() {
			letters = append(letters, jinja.NewString(string(r)))
		}
		return jinja.NewList(letters), b.charge(listBytes * len(letters))
	default:
		return v, fmt.Errorf("want a list, a text or a mapping to go through, got %s", kindOf(v))
	}
}

// list is a new list of the values that a loop visits.
func (b *budget) list(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	v, err := b.items(args, nil)
	if err != nil {
		return v, err
	}
	items := v.AsList().Items
	return jinja.NewList(append([]jinja.Value(nil), items...)), b.charge(listBytes * len(items))
}

// pairs are the values that a loop with two names visits.
func (b *budget) pairs(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	v, err := b.items(args, nil)
	if err != nil {
		return v, err
	}
	for _, item := range v.AsList().Items {
		if !item.IsList() || item.AsList().Len() != 2 {
			return v, errors.New("a loop with two names: want pairs")
		}
	}
	return v, nil
}

func (b *budget) first(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	return b.entry(args[0], func(n int) int { return 0 })
}

func (b *budget) last(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	return b.entry(args[0], func(n int) int { return n - 1 })
}

func (b *budget) entry(v jinja.Value, index func(n int) int) (jinja.Value, error) {
	v, err := b.items([]jinja.Value{v}, nil)
	if err != nil || v.AsList().Len() == 0 {
		return jinja.Undefined(), err
	}
	return v.AsList().Get(index(v.AsList().Len())), nil
}

func length(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	n := 0
	switch v := args[0]; {
	case v.IsString():
		n = strings.Count(v.AsString(), "") - 1
	case v.IsList():
		n = v.AsList().Len()
	case v.IsDict():
		n = v.AsDict().Len()
	case !v.IsUndefined():
		return v, fmt.Errorf("length: want a list, a text or a mapping, got %s", kindOf(v))
	}
	return jinja.NewInt(int64(n)), nil
}

// sort orders by value or by an attribute; texts in any case unless case_sensitive.
func (b *budget) sort(args []jinja.Value, named map[string]jinja.Value) (jinja.Value, error) {
	v, err := b.list(args, nil)
	if err != nil {
		return v, fmt.Errorf("sort: %w", err)
	}
	attribute, picks := argument(args, named, 1, "attribute")
	sortKey := func(v jinja.Value) jinja.Value {
		if picks {
			found := jinja.Undefined()
			if v.IsDict() {
				found, _ = v.AsDict().Get(pythonText(attribute))
			}
			v = found
		}
		if v.IsString() && !named["case_sensitive"].IsTruthy() {
			v = jinja.NewString(strings.ToLower(v.AsString()))
		}
		return v
	}
	var failed error
	slices.SortStableFunc(v.AsList().Items, func(x, y jinja.Value) int {
		order, err := compare(sortKey(x), sortKey(y))
		if err != nil {
			failed = fmt.Errorf("sort: %w", err)
		}
		if named["reverse"].IsTruthy() {
			order = -order
		}
		return order
	})
	return v, failed
}

func (b *budget) max(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	return b.extreme(args[0], 1)
}

func (b *budget) min(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	return b.extreme(args[0], -1)
}

// extreme is the first largest or smallest value.
func (b *budget) extreme(v jinja.Value, sign int) (jinja.Value, error) {
	v, err := b.items([]jinja.Value{v}, nil)
	if err != nil {
		return v, err
	}
	best := jinja.Undefined()
	fold := func(v jinja.Value) jinja.Value {
		if v.IsString() {
			return jinja.NewString(strings.ToLower(v.AsString()))
		}
		return v
	}
	for i, item := range v.AsList().Items {
		if i == 0 {
			best = item
			continue
		}
		order, err := compare(fold(item), fold(best))
		if err != nil {
			return best, err
		}
		if order*sign > 0 {
			best = item
		}
	}
	return best, nil
}

func (b *budget) keys(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if !args[0].IsDict() {
		return args[0], fmt.Errorf("keys: want a mapping, got %s", kindOf(args[0]))
	}
	return b.items(args[:1], nil)
}

func (b *budget) values(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if !args[0].IsDict() {
		return args[0], fmt.Errorf("values: want a mapping, got %s", kindOf(args[0]))
	}
	d := args[0].AsDict()
	out := make([]jinja.Value, len(d.Keys))
	for i, key := range d.Keys {
		out[i] = d.Data[key]
	}
	return jinja.NewList(out), b.charge(listBytes * len(out))
}

func get(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if len(args) < 2 || !args[0].IsDict() {
		return args[0], fmt.Errorf("get: want a mapping and a key, got %s", kindOf(args[0]))
	}
	if v, ok := args[0].AsDict().Get(pythonText(args[1])); ok {
		return v, nil
	}
	if len(args) > 2 {
		return args[2], nil
	}
	return jinja.None(), nil
}

// title is str.title: a letter behind a letter is small, every other one large.
func (b *budget) title(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if !args[0].IsString() {
		return args[0], fmt.Errorf("title: want a text, got %s", kindOf(args[0]))
	}
	inside := false
	s := strings.Map(func(r rune) rune {
		was := inside
		if inside = unicode.IsLetter(r); was {
			return unicode.ToLower(r)
		}
		return unicode.ToTitle(r)
	}, args[0].AsString())
	return jinja.NewString(s), b.charge(len(s))
}
