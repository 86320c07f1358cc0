package chat

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/ardanlabs/jinja"
)

// Bounds of a template. Real ones have up to 25 kB and take some steps per message.
const (
	maxSource  = 1 << 20 // bytes of a template
	maxNesting = 200     // open brackets and blocks
	maxFrames  = 5000    // of the stack while macros call each other
	maxTerms   = 1000    // operators of one expression
	maxNumber  = 1 << 20 // of a multiplication, which may repeat a string
	maxSteps   = 200_000 // iterations of loops and calls of macros of one rendering
	maxSize    = 16 << 20
	maxTime    = 10 * time.Second
)

// program is a compiled template.
type program struct{ template *jinja.Template }

func compile(source string) (p *program, err error) {
	defer recovered(&err)
	if len(source) > maxSource {
		return nil, fmt.Errorf("want at most %d bytes, got %d", maxSource, len(source))
	}
	segments, err := split(source)
	if err != nil {
		return nil, err
	}
	if err := checkNesting(segments); err != nil {
		return nil, err
	}
	source, err = rewrite(segments)
	if err != nil {
		return nil, err
	}
	t, err := jinja.Compile(source)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "jinja parse: "))
	}
	return &program{t}, nil
}

// checkNesting bounds the recursion of the library's parser and evaluator, which a
// goroutine's stack has to hold, and the strings that one expression makes.
func checkNesting(segments []segment) error {
	blocks := 0
	for _, s := range segments {
		if s.kind == text {
			continue
		}
		if err := checkExpression(withoutStrings(s.body)); err != nil {
			return fmt.Errorf("%w: %s", err, clip(s.body))
		}
		if s.kind != statement {
			continue
		}
		switch word := firstWord.FindString(s.body); word {
		case "if", "for", "macro", "call", "filter":
			blocks++
		case "endif", "endfor", "endmacro", "endcall", "endfilter":
			blocks--
		}
		if blocks > maxNesting {
			return fmt.Errorf("want at most %d open blocks, got more", maxNesting)
		}
	}
	return nil
}

var (
	operator = regexp.MustCompile(`[-+~*/%|.]|\b(?:not|if|and|or|is|in)\b`)
	number   = regexp.MustCompile(`\d+`)
)

func checkExpression(s string) error {
	depth := 0
	for _, c := range s {
		switch c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
		if depth > maxNesting {
			return errors.New("an expression is too deep")
		}
	}
	if len(operator.FindAllStringIndex(s, maxTerms+1)) > maxTerms {
		return errors.New("an expression is too long")
	}
	if strings.Count(s, "*") > 2 {
		return errors.New("want at most two multiplications in an expression")
	}
	if strings.Contains(s, "*") {
		for _, n := range number.FindAllString(s, -1) {
			if v, err := strconv.Atoi(n); err != nil || v > maxNumber {
				return fmt.Errorf("a multiplication: want numbers up to %d, got %s", maxNumber, n)
			}
		}
	}
	return nil
}

// recovered turns a panic of the library into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the template cannot be run: %v", r)
	}
}

// budget counts what one rendering has used.
type budget struct {
	steps    int // left
	output   int // bytes left
	deadline time.Time
}

// step is called at the start of each iteration of a loop and each call of a macro.
func (b *budget) step([]jinja.Value, map[string]jinja.Value) (jinja.Value, error) {
	if b.steps--; b.steps < 0 {
		return jinja.Undefined(), errors.New("the template takes too many steps")
	}
	var frame [1]uintptr
	if runtime.Callers(maxFrames, frame[:]) > 0 { // a goroutine whose stack overflows ends the process
		return jinja.Undefined(), errors.New("the macros of the template call each other without end")
	}
	if b.steps%64 == 0 && time.Now().After(b.deadline) {
		return jinja.Undefined(), fmt.Errorf("the template takes longer than %v", maxTime)
	}
	return jinja.Undefined(), nil
}

// check is called with each value that is assigned.
func (b *budget) check(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	for _, v := range args {
		if v.IsString() && len(v.AsString()) > maxSize || v.IsList() && v.AsList().Len() > maxSteps || v.IsInt() && (v.AsInt() > 1<<40 || v.AsInt() < -1<<40) {
			return jinja.Undefined(), errors.New("the template makes a value that is too large")
		}
	}
	return jinja.Undefined(), nil
}

// print is called with each value that is printed.
func (b *budget) print(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if len(args) != 1 {
		return jinja.Undefined(), fmt.Errorf("want one value to print, got %d", len(args))
	}
	v := args[0]
	if v.IsNone() {
		return jinja.NewString("None"), nil
	}
	if v.IsString() {
		if b.output -= len(v.AsString()); b.output < 0 {
			return jinja.Undefined(), fmt.Errorf("the template writes more than %d bytes", maxSize)
		}
	}
	return v, nil
}

// numbers replaces the library's range, which has no bound.
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

// run renders the template.
func (p *program) run(variables map[string]any, now time.Time) (out string, err error) {
	defer recovered(&err)
	b := budget{steps: maxSteps, output: maxSize, deadline: time.Now().Add(maxTime)}
	values := make(map[string]jinja.Value, len(variables)+4)
	for name, v := range variables {
		values[name] = jinja.FromGoValue(v)
	}
	values[stepName] = jinja.NewCallable("step", b.step)
	values[checkName] = jinja.NewCallable("check", b.check)
	values[printName] = jinja.NewCallable("print", b.print)
	values["range"] = jinja.NewCallable("range", b.numbers)
	values["strftime_now"] = jinja.NewCallable("strftime_now", func(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
		if len(args) != 1 || !args[0].IsString() {
			return jinja.Undefined(), errors.New("strftime_now: want a format")
		}
		return jinja.NewString(strftime(now, args[0].AsString())), nil
	})
	return p.template.RenderValues(values)
}

// strftime formats a time as Python's strftime does.
func strftime(t time.Time, format string) string {
	layouts := map[byte]string{'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'B': "January", 'b': "Jan", 'A': "Monday", 'a': "Mon", 'p': "PM", 'Z': "MST", 'z': "-0700", 'j': "002"}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		switch {
		case format[i] != '%' || i+1 == len(format):
			b.WriteByte(format[i])
		case format[i+1] == '%':
			b.WriteByte('%')
			i++
		case layouts[format[i+1]] != "":
			b.WriteString(t.Format(layouts[format[i+1]]))
			i++
		default:
			b.WriteString(format[i : i+2])
			i++
		}
	}
	return b.String()
}
