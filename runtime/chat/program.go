package chat

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/ardanlabs/jinja"
)

// Bounds of a template. Real ones have up to 25 kB and take some steps per message.
const (
	maxSource    = 256 << 10 // bytes of a template
	maxNesting   = 200       // open brackets and blocks, and lists in each other
	maxFrames    = 8000      // of the stack while macros call each other
	maxTerms     = 200       // operators of one precedence in a row
	maxInteger   = 1 << 40
	maxSteps     = 200_000 // iterations of loops and calls of macros of one rendering
	maxSize      = 16 << 20
	maxAllocated = 512 << 20 // bytes of all values together, of which most are garbage soon
	listBytes    = 48        // an entry of a list
	maxTime      = 10 * time.Second
)

// program is a compiled template.
type program struct{ template *jinja.Template }

func compile(source string) (p *program, err error) {
	defer recoverError(&err)
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
// goroutine's stack has to hold.
func checkNesting(segments []segment) error {
	blocks := 0
	for _, s := range segments {
		if s.kind != statement {
			continue
		}
		switch word := firstWord.FindString(s.body); word {
		case "if", "for", "macro", "call", "filter", "generation":
			blocks++
		case "set":
			if m := assignment.FindStringSubmatch(s.body); m != nil && m[2] == "" {
				blocks++
			}
		case "endif", "endfor", "endmacro", "endcall", "endfilter", "endset", "endgeneration":
			blocks--
		}
		if blocks > maxNesting {
			return fmt.Errorf("want at most %d open blocks, got more", maxNesting)
		}
	}
	return nil
}

// recoverError turns a panic of the library into an error.
func recoverError(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the template cannot be run: %v", r)
	}
}

// tooDeep reports that the macros of a template have called each other very often.
func tooDeep() bool {
	var frame [1]uintptr
	return runtime.Callers(maxFrames, frame[:]) > 0
}

// run renders the template.
func (p *program) run(variables map[string]any, now time.Time) (out string, err error) {
	defer recoverError(&err)
	values := make(map[string]jinja.Value, len(variables)+32)
	for name, v := range variables {
		if values[name], err = valueOf(v); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, f := range newBudget().functions() {
		values[name] = jinja.NewCallable(name, f)
	}
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
