package chat

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The parts of an expression that operators join: names, literals, attributes, calls, filters
// and tests.

var (
	nameToken   = regexp.MustCompile(`^[A-Za-z_]\w*$`)
	numberToken = regexp.MustCompile(`^\d`)
)

// keywords are no names of variables.
var keywords = []string{"if", "else", "and", "or", "not", "in", "is"}

func (p *expressionParser) name() (string, error) {
	t := p.peek()
	if !nameToken.MatchString(t) || slices.Contains(keywords, t) {
		return "", fmt.Errorf("want a name, got %s", p.got())
	}
	p.next++
	return t, nil
}

func (p *expressionParser) primary() (string, error) {
	t := p.peek()
	switch {
	case t == "":
		return "", fmt.Errorf("want an expression, got %s", p.got())
	case t[0] == '\'' || t[0] == '"':
		var all string
		for t := p.peek(); t != "" && (t[0] == '\'' || t[0] == '"'); t = p.peek() { // texts in a row are one
			value, err := unescape(t[1 : len(t)-1])
			if err != nil {
				return "", err
			}
			all += value
			p.next++
		}
		return quote(all), nil
	case numberToken.MatchString(t):
		p.next++
		return numeral(t)
	case p.accept("(") != "":
		items, comma, err := p.list(")")
		if err != nil {
			return "", err
		}
		if len(items) == 1 && !comma {
			return "(" + items[0] + ")", nil
		}
		return call(keepName, "["+strings.Join(items, ",")+"]"), nil
	case p.accept("[") != "":
		items, _, err := p.list("]")
		return call(keepName, "["+strings.Join(items, ",")+"]"), err
	case p.accept("{") != "":
		return p.dictionary()
	}
	if p.accept("null") != "" { // none to the library, no keyword in Jinja
		return undefinedValue, nil
	}
	return p.name()
}

// numeral writes a number as the library reads it, which knows no exponents without a point.
func numeral(s string) (string, error) {
	s = strings.ReplaceAll(s, "_", "")
	if !strings.ContainsAny(s, ".eE") {
		if _, err := strconv.ParseInt(s, 10, 64); err != nil {
			return "", fmt.Errorf("a number out of range: %s", clip(s))
		}
		return s, nil
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return "", fmt.Errorf("a number out of range: %s", clip(s))
	}
	s = strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s, nil
}

// list reads expressions up to a closing bracket. comma reports one behind the last.
func (p *expressionParser) list(end string) (items []string, comma bool, err error) {
	for p.accept(end) == "" {
		if len(items) > 0 && !comma {
			return nil, false, fmt.Errorf("want \",\" or %q, got %s", end, p.got())
		}
		item, err := p.expression()
		if err != nil {
			return nil, false, err
		}
		items, comma = append(items, item), p.accept(",") != ""
	}
	return items, comma, nil
}

func (p *expressionParser) dictionary() (string, error) {
	var items []string
	for p.accept("}") == "" {
		key, err := p.expression()
		if err == nil {
			err = p.expect(":")
		}
		if err != nil {
			return "", err
		}
		value, err := p.expression()
		if err != nil {
			return "", err
		}
		items = append(items, call(keyName, key)+":"+value)
		if p.accept(",") == "" && p.peek() != "}" {
			return "", fmt.Errorf("want \",\" or \"}\", got %s", p.got())
		}
	}
	return call(keepName, "{"+strings.Join(items, ",")+" }"), nil // "}}" would close the tag
}

// postfix reads attributes, items and calls of a value.
func (p *expressionParser) postfix(out string) (string, error) {
	for count := 0; ; count++ {
		if count > maxTerms {
			return "", errors.New("an expression is too long")
		}
		var err error
		switch {
		case p.accept(".") != "":
			out, err = p.attribute(out)
		case p.accept("[") != "":
			out, err = p.item(out)
		case p.accept("(") != "":
			var arguments []string
			arguments, err = p.arguments(nil)
			out = call(keepName, call(out, arguments...))
		default:
			return out, nil
		}
		if err != nil {
			return "", err
		}
	}
}

func (p *expressionParser) attribute(object string) (string, error) {
	if t := p.peek(); numberToken.MatchString(t) {
		p.next++
		return call(definedName, object) + "[" + t + "]", nil
	}
	attribute := p.peek()
	if !nameToken.MatchString(attribute) {
		return "", fmt.Errorf("want the name of an attribute, got %s", p.got())
	}
	p.next++
	if p.peek() != "(" {
		return call(definedName, object) + "." + attribute, nil
	}
	function, known := methods[attribute]
	switch {
	case slices.Contains(changing, attribute):
		p.next++
		_, err := p.arguments(nil)
		return refuse(attribute + ": a template cannot change a value"), err
	case attribute == "items":
		p.next++
		return call(keepName, "("+object+"|items)"), p.expect(")")
	case attribute == "upper" || attribute == "lower" || attribute == "capitalize":
		p.next++
		return call(keepName, "("+object+"|"+attribute+")"), p.expect(")")
	case !known: // a function that the value holds, such as that of a namespace or a cycler
		return object + "." + attribute, nil
	}
	p.next++
	arguments, err := p.arguments(nil)
	if err != nil {
		return "", err
	}
	if function == "" {
		return call(object+"."+attribute, arguments...), nil
	}
	return call(function, slices.Insert(arguments, 0, object)...), nil
}

// item reads the inside of brackets behind a value: an index, a key or a slice.
func (p *expressionParser) item(object string) (string, error) {
	var parts []string
	for colons := 0; ; {
		if p.peek() != ":" && p.peek() != "]" {
			part, err := p.expression()
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		} else {
			parts = append(parts, "")
		}
		if p.accept(":") == "" {
			break
		}
		if colons++; colons > 2 {
			return "", errors.New("a slice has at most two colons")
		}
	}
	if err := p.expect("]"); err != nil {
		return "", err
	}
	if len(parts) == 1 {
		return call(definedName, object) + "[" + call(boundName, parts[0]) + "]", nil
	}
	for i, part := range parts {
		if part == "" {
			parts[i] = "none"
		}
	}
	return call(sliceName, slices.Insert(parts, 0, object)...), nil
}

// arguments reads those of a call behind its opening bracket. see gets the position and the name of each.
func (p *expressionParser) arguments(see func(position int, name string)) ([]string, error) {
	var out []string
	for p.accept(")") == "" {
		name := ""
		if p.next+1 < len(p.tokens) && p.tokens[p.next+1] == "=" {
			var err error
			if name, err = p.name(); err != nil {
				return nil, err
			}
			p.next++
		}
		if see != nil {
			see(len(out), name)
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		if name != "" {
			value = name + "=" + value
		}
		out = append(out, value)
		if p.accept(",") == "" && p.peek() != ")" {
			return nil, fmt.Errorf("want \",\" or \")\", got %s", p.got())
		}
	}
	return out, nil
}

// filter reads a filter behind its bar. Arguments that the library would ignore are refused.
func (p *expressionParser) filter(value string) (string, error) {
	name, err := p.name()
	if err != nil {
		return "", err
	}
	f, known := filters[name]
	refused := ""
	if !known {
		refused = "not supported"
	}
	var arguments []string
	if p.accept("(") != "" {
		arguments, err = p.arguments(func(position int, argument string) {
			switch {
			case refused != "":
			case argument == "" && position >= f.arguments:
				refused = fmt.Sprintf("argument %d is not supported", position+1)
			case argument != "" && !slices.Contains(f.names, argument):
				refused = fmt.Sprintf("argument %s is not supported", argument)
			}
		})
		if err != nil {
			return "", err
		}
	}
	tests := strings.HasPrefix(name, "select") || strings.HasPrefix(name, "reject")
	// The library slices its arguments as if there were always a test.
	if tests && strings.HasSuffix(name, "attr") && len(arguments) == 1 {
		arguments = append(arguments, "'truthy'")
	}
	if tests && len(arguments) < f.arguments-1 && refused == "" {
		refused = "want a test, got none"
	}
	if refused != "" {
		return refuse("filter " + name + ": " + refused), nil
	}
	switch {
	case f.function != "":
		return call(f.function, slices.Insert(arguments, 0, value)...), nil
	case f.onText:
		value = call(textName, value)
	case f.deep:
		value = call(boundName, value)
	}
	if tests {
		for i, a := range arguments {
			arguments[i] = call(boundName, a)
		}
	}
	out := "(" + value + "|" + call(name, arguments...) + ")"
	if f.shares {
		return out, nil
	}
	return call(keepName, out), nil
}

// test reads a test behind its "is".
func (p *expressionParser) test(value string) (string, error) {
	is := " is "
	if p.accept("not") != "" {
		is = " is not "
	}
	t := p.peek()
	if !nameToken.MatchString(t) { // "in" is a test too
		return "", fmt.Errorf("want the name of a test, got %s", p.got())
	}
	p.next++
	var arguments []string
	var err error
	next := p.peek()
	switch {
	case p.accept("(") != "":
		arguments, err = p.arguments(nil)
	case next != "" && !slices.Contains(keywords, next) && (strings.Contains(`'"[{`, next[:1]) || nameToken.MatchString(next) || numberToken.MatchString(next)):
		var argument string
		if argument, err = p.primary(); err == nil {
			argument, err = p.postfix(argument)
		}
		arguments = []string{argument}
	}
	if err != nil {
		return "", err
	}
	for i, a := range arguments {
		arguments[i] = call(boundName, a)
	}
	if t == "divisibleby" && len(arguments) == 1 {
		operator := map[bool]string{true: "==", false: "!="}[is == " is "]
		return infix(operator, call(remainderName, value, arguments[0]), "0"), nil
	}
	if len(arguments) == 0 {
		return "(" + value + is + t + ")", nil
	}
	return "(" + value + is + call(t, arguments...) + ")", nil
}
