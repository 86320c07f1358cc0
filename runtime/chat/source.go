package chat

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// kind of a segment of a template.
type kind int

const (
	text kind = iota
	expression
	statement
)

// segment is a text, or the inside of a tag without its markers.
type segment struct {
	kind kind
	body string
}

// tagEnds are the ends of the tags by their second character.
var tagEnds = map[byte]string{'{': "}}", '%': "%}", '#': "#}"}

// split cuts a template into segments and removes white space as Jinja does with
// trim_blocks, lstrip_blocks and without keep_trailing_newline. The library that runs
// the template removes white space in other places, so that it gets texts as strings.
func split(source string) ([]segment, error) {
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	source = strings.TrimSuffix(source, "\n")
	var out []segment
	rest, lineStart := source, true
	line := func(offset int) int { return 1 + strings.Count(source[:offset], "\n") }
	for rest != "" {
		open := findTag(rest)
		if open < 0 {
			return append(out, segment{text, rest}), nil
		}
		mark := rest[open+1]
		flag, inside := cutFlag(rest[open+2:])
		before := trimBefore(rest[:open], flag, mark != '{', lineStart)
		if before != "" {
			out = append(out, segment{text, before})
		}
		at := len(source) - len(rest)
		length, endFlag, err := endOfTag(inside, mark)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line(at), err)
		}
		body := inside[:length]
		rest = inside[length+len(endFlag)+2:]
		lineStart = false
		raw := mark == '%' && strings.TrimSpace(body) == "raw"
		switch {
		case endFlag == "-":
			trimmed := strings.TrimLeftFunc(rest, unicode.IsSpace)
			lineStart = strings.HasSuffix(rest[:len(rest)-len(trimmed)], "\n")
			rest = trimmed
		case endFlag == "" && mark != '{' && !raw && strings.HasPrefix(rest, "\n"):
			rest, lineStart = rest[1:], true
		}
		switch {
		case raw:
			literal, after, newline, err := cutRaw(rest)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line(at), err)
			}
			out = append(out, segment{text, literal})
			rest, lineStart = after, newline
		case mark == '{':
			out = append(out, segment{expression, body})
		case mark == '%':
			out = append(out, segment{statement, strings.TrimSpace(body)})
		}
	}
	return out, nil
}

// findTag returns the index of the next tag's opening brace, or -1.
func findTag(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && tagEnds[s[i+1]] != "" {
			return i
		}
	}
	return -1
}

// cutFlag separates the - or + behind the opening of a tag.
func cutFlag(s string) (flag, rest string) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[:1], s[1:]
	}
	return "", s
}

// trimBefore removes white space in front of a tag: all of it for a -, else the
// indentation of a block or comment that begins its line.
func trimBefore(s, flag string, block, lineStart bool) string {
	switch {
	case flag == "-":
		return strings.TrimRightFunc(s, unicode.IsSpace)
	case flag == "+" || !block:
		return s
	}
	newline := strings.LastIndexByte(s, '\n') + 1
	if (newline > 0 || lineStart) && strings.TrimSpace(s[newline:]) == "" {
		return s[:newline]
	}
	return s
}

// endOfTag returns the length of a tag's inside, and the - or + in front of its end.
func endOfTag(s string, mark byte) (length int, flag string, err error) {
	end, depth := tagEnds[mark], 0
	for i := 0; i+1 < len(s); i++ {
		if depth <= 0 || mark == '#' {
			for _, flag := range []string{"", "-", "+"} {
				if strings.HasPrefix(s[i:], flag+end) && !(flag == "+" && mark == '{') {
					return i, flag, nil
				}
			}
		}
		if mark == '#' {
			continue
		}
		switch c := s[i]; c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case '\'', '"':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		}
	}
	return 0, "", fmt.Errorf("a tag {%c is not closed", mark)
}

var endRaw = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*([-+]?)%\}`)

// cutRaw cuts the text of a raw block from what follows its end. newline reports that
// what follows begins a line.
func cutRaw(s string) (literal, after string, newline bool, err error) {
	m := endRaw.FindStringSubmatchIndex(s)
	if m == nil {
		return "", "", false, errors.New("a raw block is not closed")
	}
	literal, after = trimBefore(s[:m[0]], s[m[2]:m[3]], true, false), s[m[1]:]
	switch s[m[4]:m[5]] {
	case "-":
		trimmed := strings.TrimLeftFunc(after, unicode.IsSpace)
		return literal, trimmed, strings.HasSuffix(after[:len(after)-len(trimmed)], "\n"), nil
	case "":
		if strings.HasPrefix(after, "\n") {
			return literal, after[1:], true, nil
		}
	}
	return literal, after, false, nil
}

// Names that the rewritten template uses. A template cannot use them by chance.
const (
	stepName  = "mop__step"
	saveName  = "mop__save"
	checkName = "mop__check"
	printName = "mop__print"
)

var (
	firstWord  = regexp.MustCompile(`^\w+`)
	assignment = regexp.MustCompile(`^set\s+([A-Za-z_]\w*(?:\.\w+)?)\s*(=?)`)
	loopHead   = regexp.MustCompile(`^for\s+([\w\s,()]+?)\s+in\b`)
	macroHead  = regexp.MustCompile(`^macro\s+([A-Za-z_]\w*)\s*\(`)
	callHead   = regexp.MustCompile(`^call\s*(\([\w\s,]*\))?\s*`)
)

// rewrite writes a template again from its segments, for the library:
//
//   - texts are string expressions, so that their white space stays;
//   - expressions are those of rewriteExpression;
//   - the value of an expression is printed as Python prints it;
//   - the body of each loop and macro begins with a call that counts steps, and each
//     assignment is followed by one that bounds the size of its value;
//   - a variable that the body of a loop assigns has its outer value again at the start
//     of each iteration, as in Jinja.
func rewrite(segments []segment) (string, error) {
	assigned := assignedInLoops(segments)
	var b strings.Builder
	check := func(name string) { fmt.Fprintf(&b, "{%%set %s=%s(%s)%%}", stepName+"_", checkName, name) }
	var blocks []string // targets of the open block assignments
	for i, s := range segments {
		switch s.kind {
		case text:
			b.WriteString("{{" + call(printName, quote(s.body)) + "}}")
			continue
		case expression:
			body, err := rewriteExpression(s.body)
			if err != nil {
				return "", fmt.Errorf("%w: %s", err, clip(s.body))
			}
			b.WriteString("{{ " + call(printName, body) + " }}")
			continue
		}
		body, err := rewriteStatement(s.body)
		if err != nil {
			return "", fmt.Errorf("%w: %s", err, clip(s.body))
		}
		for j, name := range assigned[i] {
			fmt.Fprintf(&b, "{%%set %s_%d_%d=%s%%}", saveName, i, j, name)
		}
		b.WriteString("{% " + body + " %}")
		switch firstWord.FindString(s.body) {
		case "for", "macro":
			fmt.Fprintf(&b, "{%%set %s_=%s()%%}", stepName, stepName)
		case "set":
			m := assignment.FindStringSubmatch(s.body)
			if m[2] == "=" {
				check(m[1])
			} else {
				blocks = append(blocks, m[1])
			}
		case "endset":
			if len(blocks) > 0 {
				check(blocks[len(blocks)-1])
				blocks = blocks[:len(blocks)-1]
			}
		}
		for j, name := range assigned[i] {
			fmt.Fprintf(&b, "{%%set %s=%s_%d_%d%%}", name, saveName, i, j)
		}
	}
	return b.String(), nil
}

// rewriteStatement writes the inside of a statement's tag with its expressions rewritten.
func rewriteStatement(s string) (string, error) {
	word := firstWord.FindString(s)
	rest := strings.TrimSpace(s[len(word):])
	switch word {
	case "if", "elif":
		condition, err := rewriteExpression(rest)
		return word + " " + condition, err
	case "for":
		return rewriteLoop(s)
	case "set":
		m := assignment.FindStringSubmatch(s)
		switch {
		case m == nil || m[2] == "" && len(m[0]) != len(s):
			return "", errors.New("statement not supported")
		case m[2] == "":
			return "set " + m[1], nil
		}
		value, err := rewriteExpression(s[len(m[0]):])
		return "set " + m[1] + "=" + value, err
	case "macro":
		return rewriteMacro(s)
	case "call":
		head := callHead.FindString(s)
		p, err := newExpressionParser(s[len(head):])
		if err != nil {
			return "", err
		}
		name, err := p.name()
		if err == nil {
			err = p.expect("(")
		}
		if err != nil {
			return "", err
		}
		arguments, err := p.arguments(nil)
		if err != nil {
			return "", err
		}
		return head + " " + call(name, arguments...), p.end()
	case "filter":
		if f, ok := filters[rest]; !ok || !f.onText {
			return "", errors.New("statement not supported")
		}
		return s, nil
	case "else", "endif", "endfor", "endset", "endmacro", "endcall", "endfilter", "break", "continue", "generation", "endgeneration":
		if rest != "" {
			return "", fmt.Errorf("%s: want nothing behind it", word)
		}
		return s, nil
	}
	return "", errors.New("statement not supported")
}

// rewriteLoop writes the head of a loop: for NAME[, NAME] in VALUES [if CONDITION].
func rewriteLoop(s string) (string, error) {
	m := loopHead.FindStringSubmatch(s)
	if m == nil {
		return "", errors.New("want: for NAME in VALUES")
	}
	names := loopNames(m[1])
	function := itemsName
	switch len(names) {
	case 1:
	case 2:
		function = pairsName
	default:
		return "", fmt.Errorf("a loop: want one or two names, got %d", len(names))
	}
	p, err := newExpressionParser(s[len(m[0]):])
	if err != nil {
		return "", err
	}
	values, err := p.or()
	if err != nil {
		return "", err
	}
	out := "for " + strings.Join(names, ",") + " in " + call(function, values)
	if p.accept("if") != "" {
		condition, err := p.expression()
		if err != nil {
			return "", err
		}
		out += " if (" + condition + ")"
	}
	return out, p.end()
}

func loopNames(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// rewriteMacro writes the head of a macro. The library would split the parameters at commas,
// so that the defaults become assignments at the start of the body.
func rewriteMacro(s string) (string, error) {
	m := macroHead.FindStringSubmatch(s)
	if m == nil {
		return "", errors.New("want: macro NAME(PARAMETERS)")
	}
	p, err := newExpressionParser(s[len(m[0]):])
	if err != nil {
		return "", err
	}
	var parameters []string
	var defaults strings.Builder
	for p.accept(")") == "" {
		name, err := p.name()
		if err != nil {
			return "", err
		}
		parameters = append(parameters, name)
		if p.accept("=") != "" {
			value, err := p.expression()
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&defaults, " %%}{%% set %s=(%s if %s is undefined else %s)", name, value, name, name)
		}
		if p.accept(",") == "" && p.peek() != ")" {
			return "", fmt.Errorf("want \",\" or \")\", got %s", p.got())
		}
	}
	return "macro " + call(m[1], parameters...) + defaults.String(), p.end()
}

// assignedInLoops returns, by the index of a for statement, the variables that its body
// assigns outside of inner loops and macros.
func assignedInLoops(segments []segment) map[int][]string {
	out := map[int][]string{}
	var open []int // indices of the open for statements; -1 for a macro or a call
	for i, s := range segments {
		if s.kind != statement {
			continue
		}
		switch firstWord.FindString(s.body) {
		case "for":
			open = append(open, i)
		case "macro", "call":
			open = append(open, -1)
		case "endfor", "endmacro", "endcall":
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		case "set":
			m := assignment.FindStringSubmatch(s.body)
			if m == nil || strings.Contains(m[1], ".") || len(open) == 0 || open[len(open)-1] < 0 {
				continue
			}
			loop := open[len(open)-1]
			if head := loopHead.FindStringSubmatch(segments[loop].body); head != nil {
				names := loopNames(head[1])
				if !slices.Contains(names, m[1]) && !slices.Contains(out[loop], m[1]) {
					out[loop] = append(out[loop], m[1])
				}
			}
		}
	}
	return out
}

// unescape resolves the escapes of a string in a template, which are Python's.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	short := map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': `\`, '\'': "'", '"': `"`, 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\n': ""}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if r, ok := short[s[i]]; ok {
			b.WriteString(r)
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]]
		if digits == 0 {
			b.WriteString(s[i-1 : i+1])
			continue
		}
		if i+digits >= len(s) {
			return "", fmt.Errorf("escape not complete: %s", clip(s))
		}
		code, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32)
		if err != nil || code > unicode.MaxRune {
			return "", fmt.Errorf("wrong escape: %s", clip(s))
		}
		b.WriteRune(rune(code))
		i += digits
	}
	return b.String(), nil
}

// quote writes a string as the library reads it.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// clip shortens a text for an error.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return strconv.Quote(string(r[:60]) + "...")
	}
	return strconv.Quote(s)
}
