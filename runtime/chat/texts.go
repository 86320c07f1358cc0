package chat

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ardanlabs/jinja"
)

// The methods and filters of texts that can make a long text of short ones. The size of the
// result is computed first.

// argument is one of a call, by position or name.
func argument(args []jinja.Value, named map[string]jinja.Value, position int, name string) (jinja.Value, bool) {
	if position < len(args) {
		return args[position], true
	}
	v, ok := named[name]
	return v, ok && !v.IsNone()
}

// count is an argument that bounds a number of replacements or parts, -1 where it is absent.
func count(args []jinja.Value, named map[string]jinja.Value, position int, name string) (int, error) {
	v, ok := argument(args, named, position, name)
	if !ok {
		return -1, nil
	}
	if !v.IsInt() {
		return 0, fmt.Errorf("%s: want an integer, got %s", name, kindOf(v))
	}
	return int(v.AsInt()), nil
}

// texts are the first arguments of a call as texts.
func (b *budget) texts(args []jinja.Value, want int) ([]string, error) {
	if len(args) < want {
		return nil, fmt.Errorf("want %d values, got %d", want, len(args))
	}
	out := make([]string, want)
	for i := range out {
		v, err := b.text(args[i:i+1], nil)
		if err != nil {
			return nil, err
		}
		out[i] = v.AsString()
	}
	return out, nil
}

func (b *budget) replace(args []jinja.Value, named map[string]jinja.Value) (jinja.Value, error) {
	t, err := b.texts(args, 3)
	if err != nil {
		return jinja.Undefined(), fmt.Errorf("replace: %w", err)
	}
	limit, err := count(args, named, 3, "count")
	if err != nil {
		return jinja.Undefined(), fmt.Errorf("replace: %w", err)
	}
	n := strings.Count(t[0], t[1])
	if limit >= 0 {
		n = min(n, limit)
	}
	if err := b.charge(len(t[0]) + n*max(0, len(t[2])-len(t[1]))); err != nil {
		return jinja.Undefined(), err
	}
	return jinja.NewString(strings.Replace(t[0], t[1], t[2], limit)), nil
}

func (b *budget) join(args []jinja.Value, named map[string]jinja.Value) (jinja.Value, error) {
	v, err := b.items(args, nil)
	if err != nil {
		return v, fmt.Errorf("join: %w", err)
	}
	separator := ""
	if s, ok := argument(args, named, 1, "d"); ok {
		separator = pythonText(s)
	}
	attribute, picks := argument(args, named, 2, "attribute")
	size := 0
	var parts []string
	for _, item := range v.AsList().Items {
		if picks {
			found := jinja.Undefined()
			if item.IsDict() {
				found, _ = item.AsDict().Get(pythonText(attribute))
			}
			item = found
		}
		t, err := b.text([]jinja.Value{item}, nil)
		if err != nil {
			return v, err
		}
		parts = append(parts, t.AsString())
		if size += len(t.AsString()) + len(separator); size > maxSize {
			return v, errTooLarge
		}
	}
	return jinja.NewString(strings.Join(parts, separator)), b.charge(size)
}

func (b *budget) indent(args []jinja.Value, named map[string]jinja.Value) (jinja.Value, error) {
	t, err := b.texts(args, 1)
	if err != nil {
		return jinja.Undefined(), fmt.Errorf("indent: %w", err)
	}
	width := int64(4)
	if v, ok := argument(args, named, 1, "width"); ok {
		if !v.IsInt() {
			return v, fmt.Errorf("indent: width: want an integer, got %s", kindOf(v))
		}
		width = max(0, v.AsInt())
	}
	lines := strings.Split(t[0], "\n")
	if width > int64((maxSize-len(t[0]))/len(lines)) {
		return jinja.Undefined(), errTooLarge
	}
	if err := b.charge(len(t[0]) + len(lines)*int(width)); err != nil {
		return jinja.Undefined(), err
	}
	first, ok := argument(args, named, 2, "first")
	ok = ok && first.IsTruthy()
	pad := strings.Repeat(" ", int(width))
	for i, line := range lines {
		if i == 0 && ok || i > 0 && line != "" {
			lines[i] = pad + line
		}
	}
	return jinja.NewString(strings.Join(lines, "\n")), nil
}

// format fills {} and {0} of a text, as str.format does.
func (b *budget) format(args []jinja.Value, named map[string]jinja.Value) (jinja.Value, error) {
	if len(args) == 0 || !args[0].IsString() || len(named) > 0 {
		return jinja.Undefined(), errors.New("format: want a text and values without names")
	}
	var out strings.Builder
	next := 0
	for rest := args[0].AsString(); rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			i = len(rest)
		}
		part := rest[:i]
		switch rest = rest[i:]; {
		case strings.HasPrefix(rest, "{{") || strings.HasPrefix(rest, "}}"):
			part, rest = part+rest[:1], rest[2:]
		case rest != "":
			end := strings.IndexByte(rest, '}')
			index := next
			if end < 1 {
				return args[0], errors.New("format: a single brace")
			}
			if name := rest[1:end]; name != "" {
				if _, err := fmt.Sscanf(name+"\n", "%d\n", &index); err != nil {
					return args[0], fmt.Errorf("format: want {} or {0}, got %s", clip(rest[:end+1]))
				}
			}
			if next++; index < 0 || index+1 >= len(args) {
				return args[0], fmt.Errorf("format: no value %d", index)
			}
			t, err := b.text(args[index+1:index+2], nil)
			if err != nil {
				return t, err
			}
			part, rest = part+t.AsString(), rest[end+1:]
		}
		if err := b.charge(out.Len() + len(part)); err != nil {
			return args[0], err
		}
		out.WriteString(part)
	}
	return jinja.NewString(out.String()), nil
}

// split is str.split.
func (b *budget) split(args []jinja.Value, named map[string]jinja.Value) (jinja.Value, error) {
	if len(args) == 0 || !args[0].IsString() {
		return jinja.Undefined(), errors.New("split: want a text")
	}
	limit, err := count(args, named, 2, "maxsplit")
	if err != nil {
		return jinja.Undefined(), fmt.Errorf("split: %w", err)
	}
	s := args[0].AsString()
	var parts []string
	separator, ok := argument(args, named, 1, "sep")
	switch {
	case !ok || separator.IsNone():
		if limit >= 0 {
			return separator, errors.New("split: maxsplit without a separator is not supported")
		}
		if err := b.charge(len(s)); err != nil {
			return separator, err
		}
		parts = strings.Fields(s)
	case !separator.IsString() || separator.AsString() == "":
		return separator, errors.New("split: want a text as the separator")
	default:
		n := strings.Count(s, separator.AsString()) + 1
		if err := b.charge(listBytes * n); err != nil {
			return separator, err
		}
		if limit >= 0 {
			n = min(n, limit+1)
		}
		parts = strings.SplitN(s, separator.AsString(), n)
	}
	items := make([]jinja.Value, len(parts))
	for i, part := range parts {
		items[i] = jinja.NewString(part)
	}
	return jinja.NewList(items), nil
}
