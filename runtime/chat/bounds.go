package chat

import (
	"errors"
	"fmt"
	"time"

	"github.com/ardanlabs/jinja"
)

// budget counts what one rendering has used. The library runs a template without bounds, so
// that everything that repeats, grows or visits values goes through its functions.
type budget struct {
	steps     int // left: iterations of loops and calls of macros
	output    int // bytes left
	allocated int // bytes of texts and lists that may still be made
	visits    int // operations so far
	deadline  time.Time
}

func newBudget() *budget {
	return &budget{steps: maxSteps, output: maxSize, allocated: maxAllocated, deadline: time.Now().Add(maxTime)}
}

type function = func(args []jinja.Value, named map[string]jinja.Value) (jinja.Value, error)

// functions are those that a rewritten template calls, by name.
func (b *budget) functions() map[string]function {
	return map[string]function{
		stepName: b.step, checkName: b.check, printName: b.print, "range": b.numbers, boundName: b.bound, keepName: b.keep, definedName: b.defined, keyName: key, refuseName: failWith,
		addName: b.add, multiplyName: b.multiply, subtractName: subtract, divideName: divide, floorName: floor, remainderName: remainder, powerName: power, compareName: compareBy,
		itemsName: b.items, listName: b.list, pairsName: b.pairs, firstName: b.first, lastName: b.last, lengthName: length, sortName: b.sort, maxName: b.max, minName: b.min,
		keysName: b.keys, sliceName: b.slice, reverseName: b.reverse, valuesName: b.values, getName: get, roundName: round,
		textName: b.text, jsonName: b.json, joinName: b.join, replaceName: b.replace, indentName: b.indent, formatName: b.format, splitName: b.split, titleName: b.title,
	}
}

var errTooLarge = errors.New("the template makes a value that is too large")

// visit is called by every operation, so that a rendering ends in time.
func (b *budget) visit() error {
	if b.visits++; b.visits%64 == 0 && time.Now().After(b.deadline) {
		return fmt.Errorf("the template takes longer than %v", maxTime)
	}
	return nil
}

// charge counts bytes of a text or list before it is made.
func (b *budget) charge(n int) error {
	if n > maxSize {
		return errTooLarge
	}
	if b.allocated -= n; b.allocated < 0 {
		return fmt.Errorf("the template makes more than %d bytes of values", maxAllocated)
	}
	if n > 1<<16 {
		b.visits |= 63 // a large value takes time
	}
	return b.visit()
}

// weigh bounds what a value holds, written out: a list may hold itself, or others many times.
func (b *budget) weigh(v jinja.Value) error {
	if !v.IsList() && !v.IsDict() {
		return nil
	}
	parts, bytes := maxSteps, maxSize
	var visit func(v jinja.Value, depth int) error
	visit = func(v jinja.Value, depth int) error {
		if parts--; parts < 0 || bytes < 0 || depth > maxNesting {
			return errTooLarge
		}
		if err := b.visit(); err != nil {
			return err
		}
		switch {
		case v.IsString():
			bytes -= len(v.AsString())
		case v.IsList():
			for _, item := range v.AsList().Items {
				if err := visit(item, depth+1); err != nil {
					return err
				}
			}
		case v.IsDict():
			d := v.AsDict()
			for _, key := range d.Keys {
				bytes -= len(key)
				if err := visit(d.Data[key], depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return visit(v, 0)
}

// bound returns a value that an operation will visit with all its parts.
func (b *budget) bound(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	return args[0], b.weigh(args[0])
}

// failWith fails with the message of a call that refuse made.
func failWith(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	return args[0], errors.New(args[0].AsString())
}

// keep returns a value that an operation has made.
func (b *budget) keep(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	v, size := args[0], 0
	switch {
	case v.IsString():
		size = len(v.AsString())
	case v.IsList():
		size = listBytes * v.AsList().Len()
	case v.IsDict():
		size = 2 * listBytes * v.AsDict().Len()
	}
	if err := b.charge(size); err != nil {
		return v, err
	}
	return v, b.weigh(v)
}

// step is called at the start of each iteration of a loop and each call of a macro.
func (b *budget) step([]jinja.Value, map[string]jinja.Value) (jinja.Value, error) {
	if b.steps--; b.steps < 0 {
		return jinja.Undefined(), errors.New("the template takes too many steps")
	}
	if tooDeep() { // a goroutine whose stack overflows ends the process
		return jinja.Undefined(), errors.New("the macros of the template call each other without end")
	}
	return jinja.Undefined(), b.visit()
}

// check is called with each value that is assigned.
func (b *budget) check(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	v := args[0]
	if v.IsString() && len(v.AsString()) > maxSize || v.IsInt() && (v.AsInt() > maxInteger || v.AsInt() < -maxInteger) {
		return jinja.Undefined(), errTooLarge
	}
	return jinja.Undefined(), b.weigh(v)
}

// print is called with each value that is printed.
func (b *budget) print(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	v, err := b.text(args, nil)
	if err != nil {
		return v, err
	}
	if b.output -= len(v.AsString()); b.output < 0 {
		return v, fmt.Errorf("the template writes more than %d bytes", maxSize)
	}
	return v, nil
}

// text writes a value as Python's str does.
func (b *budget) text(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if len(args) != 1 {
		return jinja.Undefined(), fmt.Errorf("want one value to write, got %d", len(args))
	}
	if args[0].IsString() {
		return args[0], b.visit()
	}
	if err := b.weigh(args[0]); err != nil {
		return args[0], err
	}
	s := pythonText(args[0])
	return jinja.NewString(s), b.charge(len(s))
}

// numbers replaces the library's range.
func (b *budget) numbers(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	var n [3]int64
	if len(args) < 1 || len(args) > 3 {
		return jinja.Undefined(), fmt.Errorf("range: want 1 to 3 arguments, got %d", len(args))
	}
	for i, a := range args {
		if !a.IsInt() {
			return jinja.Undefined(), errors.New("range: want integers")
		}
		n[i] = a.AsInt()
	}
	start, stop, step := n[0], n[1], n[2]
	switch len(args) {
	case 1:
		start, stop, step = 0, n[0], 1
	case 2:
		step = 1
	}
	if step == 0 {
		return jinja.Undefined(), errors.New("range: want a step other than 0")
	}
	var items []jinja.Value
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if b.steps--; b.steps < 0 {
			return jinja.Undefined(), errors.New("the template takes too many steps")
		}
		items = append(items, jinja.NewInt(i))
	}
	return jinja.NewList(items), nil
}
