package chat

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// The operators on numbers, texts and lists, as in Python.

// add is a + b of two numbers, two texts or two lists.
func (b *budget) add(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	x, y := args[0], args[1]
	switch {
	case x.IsString() && y.IsString():
		if err := b.charge(len(x.AsString()) + len(y.AsString())); err != nil {
			return x, err
		}
		return jinja.NewString(x.AsString() + y.AsString()), nil
	case x.IsList() && y.IsList():
		p, q := x.AsList().Items, y.AsList().Items
		if err := b.charge(listBytes * (len(p) + len(q))); err != nil {
			return x, err
		}
		return jinja.NewList(append(append(make([]jinja.Value, 0, len(p)+len(q)), p...), q...)), nil
	case isInteger(x) && isInteger(y):
		return jinja.NewInt(asInteger(x) + asInteger(y)), nil
	case isNumber(x) && isNumber(y):
		return jinja.NewFloat(asFloat(x) + asFloat(y)), nil
	}
	return x, fmt.Errorf("+: want two numbers, two texts or two lists, got %s and %s", kindOf(x), kindOf(y))
}

// multiply is a * b of two numbers, or of a text or list and how often it is repeated.
func (b *budget) multiply(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	x, y := args[0], args[1]
	if isInteger(x) && !isNumber(y) {
		x, y = y, x
	}
	switch {
	case isInteger(x) && isInteger(y):
		return jinja.NewInt(asInteger(x) * asInteger(y)), nil
	case isNumber(x) && isNumber(y):
		return jinja.NewFloat(asFloat(x) * asFloat(y)), nil
	case (x.IsString() || x.IsList()) && isInteger(y):
		return b.repeat(x, asInteger(y))
	}
	return x, fmt.Errorf("*: want two numbers, or a text or list and an integer, got %s and %s", kindOf(x), kindOf(y))
}

func (b *budget) repeat(v jinja.Value, count int64) (jinja.Value, error) {
	size := 0
	if v.IsString() {
		size = len(v.AsString())
	} else {
		size = listBytes * v.AsList().Len()
	}
	count = max(0, count)
	if size > 0 && count > int64(maxSize/size) {
		return v, errTooLarge
	}
	if err := b.charge(size * int(count)); err != nil {
		return v, err
	}
	if v.IsString() {
		return jinja.NewString(strings.Repeat(v.AsString(), int(count))), nil
	}
	var items []jinja.Value
	for ; size > 0 && count > 0; count-- {
		items = append(items, v.AsList().Items...)
	}
	return jinja.NewList(items), nil
}

// numbersOf are the operands of an operator on numbers. whole says that both are integers.
func numbersOf(operator string, args []jinja.Value) (x, y float64, whole bool, err error) {
	if len(args) != 2 || !isNumber(args[0]) || !isNumber(args[1]) {
		return 0, 0, false, fmt.Errorf("%s: want two numbers, got %s and %s", operator, kindOf(args[0]), kindOf(args[1]))
	}
	return asFloat(args[0]), asFloat(args[1]), isInteger(args[0]) && isInteger(args[1]), nil
}

func subtract(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	x, y, whole, err := numbersOf("-", args)
	if whole {
		return jinja.NewInt(asInteger(args[0]) - asInteger(args[1])), err
	}
	return jinja.NewFloat(x - y), err
}

func divide(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	x, y, _, err := numbersOf("/", args)
	if err == nil && y == 0 {
		err = errors.New("/: division by zero")
	}
	return jinja.NewFloat(x / y), err
}

// floor is a // b, which rounds down.
func floor(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	x, y, whole, err := numbersOf("//", args)
	if err != nil {
		return args[0], err
	}
	if y == 0 {
		return args[0], errors.New("//: division by zero")
	}
	if whole {
		a, d := asInteger(args[0]), asInteger(args[1])
		q := a / d
		if a%d != 0 && (a < 0) != (d < 0) {
			q--
		}
		return jinja.NewInt(q), nil
	}
	return jinja.NewFloat(math.Floor(x / y)), nil
}

// remainder is a % b, which has the sign of b.
func remainder(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	x, y, whole, err := numbersOf("%", args)
	if err != nil {
		return args[0], err
	}
	if y == 0 {
		return args[0], errors.New("%: division by zero")
	}
	if whole {
		d := asInteger(args[1])
		return jinja.NewInt((asInteger(args[0])%d + d) % d), nil
	}
	return jinja.NewFloat(math.Mod(math.Mod(x, y)+y, y)), nil
}

func power(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	x, y, whole, err := numbersOf("**", args)
	if err != nil {
		return args[0], err
	}
	z := math.Pow(x, y)
	if whole && y >= 0 {
		if math.Abs(z) > maxInteger {
			return args[0], errTooLarge
		}
		return jinja.NewInt(int64(z)), nil
	}
	return jinja.NewFloat(z), nil
}

// compare orders two numbers or two texts.
func compare(x, y jinja.Value) (int, error) {
	switch {
	case isNumber(x) && isNumber(y):
		if a, b := asFloat(x), asFloat(y); a < b {
			return -1, nil
		} else if a > b {
			return 1, nil
		}
		return 0, nil
	case x.IsString() && y.IsString():
		return strings.Compare(x.AsString(), y.AsString()), nil
	}
	return 0, fmt.Errorf("want two numbers or two texts to compare, got %s and %s", kindOf(x), kindOf(y))
}

// compareBy gets an operator and its operands.
func compareBy(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	order, err := compare(args[1], args[2])
	if err != nil {
		return args[0], err
	}
	ok := false
	switch args[0].AsString() {
	case "<":
		ok = order < 0
	case "<=":
		ok = order <= 0
	case ">":
		ok = order > 0
	case ">=":
		ok = order >= 0
	}
	return jinja.NewBool(ok), nil
}

// round is the filter round: half to even, as Python rounds.
func round(args []jinja.Value, named map[string]jinja.Value) (jinja.Value, error) {
	digits, err := count(args, named, 1, "precision")
	if err != nil {
		return args[0], fmt.Errorf("round: %w", err)
	}
	if !isNumber(args[0]) || digits > 20 {
		return args[0], fmt.Errorf("round: want a number and at most 20 digits, got %s", kindOf(args[0]))
	}
	x, err := strconv.ParseFloat(strconv.FormatFloat(asFloat(args[0]), 'f', max(0, digits), 64), 64)
	return jinja.NewFloat(x), err
}
