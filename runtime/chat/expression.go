package chat

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var lexeme = regexp.MustCompile(`^(?:` +
	`(?:\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?)` + // numbers
	`|[A-Za-z_]\w*` +
	`|'(?:[^'\\]|\\.|\\\n)*'|"(?:[^"\\]|\\.|\\\n)*"` +
	`|\*\*|//|==|!=|<=|>=|[-+*/%<>=|~.,:()\[\]{}]` +
	`)`)

// expressionParser reads Jinja expressions by Jinja's own precedences, and writes them for
// the library, with parentheses around every operation, so that no value grows beyond the
// bounds of a rendering.
type expressionParser struct {
	tokens []string
	next   int
	depth  int // of brackets and operators that enclose the current one
}

func newExpressionParser(s string) (*expressionParser, error) {
	p := &expressionParser{}
	for rest := strings.TrimSpace(s); rest != ""; rest = strings.TrimSpace(rest) {
		t := lexeme.FindString(rest)
		if t == "" {
			return nil, fmt.Errorf("not an expression: %s", clip(rest))
		}
		p.tokens, rest = append(p.tokens, t), rest[len(t):]
	}
	return p, nil
}

// rewriteExpression writes a whole expression.
func rewriteExpression(s string) (string, error) {
	p, err := newExpressionParser(s)
	if err != nil {
		return "", err
	}
	out, err := p.expression()
	if err != nil {
		return "", err
	}
	return out, p.end()
}

func (p *expressionParser) peek() string {
	if p.next < len(p.tokens) {
		return p.tokens[p.next]
	}
	return ""
}

// accept consumes the next token if it is one of some.
func (p *expressionParser) accept(some ...string) string {
	t := p.peek()
	if t == "" || !slices.Contains(some, t) {
		return ""
	}
	p.next++
	return t
}

func (p *expressionParser) expect(want string) error {
	if p.accept(want) == "" {
		return fmt.Errorf("want %q, got %s", want, p.got())
	}
	return nil
}

func (p *expressionParser) got() string {
	if p.peek() == "" {
		return "the end of the expression"
	}
	return clip(p.peek())
}

func (p *expressionParser) end() error {
	if p.peek() != "" {
		return fmt.Errorf("want the end of the expression, got %s", p.got())
	}
	return nil
}

func call(function string, arguments ...string) string {
	return function + "(" + strings.Join(arguments, ",") + ")"
}

// refuse is an expression that fails with a message.
func refuse(message string) string { return call(refuseName, quote(message)) }

// expression reads `a if b else c` and all that binds more tightly.
func (p *expressionParser) expression() (string, error) {
	if p.depth++; p.depth > maxNesting {
		return "", errors.New("an expression is too deep")
	}
	defer func() { p.depth-- }()
	out, err := p.or()
	for err == nil && p.accept("if") != "" {
		var condition string
		if condition, err = p.or(); err != nil {
			break
		}
		if p.accept("else") == "" {
			out = "(" + out + " if " + condition + ")"
			continue
		}
		var other string
		other, err = p.expression()
		out = "(" + out + " if " + condition + " else " + other + ")"
	}
	return out, err
}

// binary reads operands that the operators of one precedence join, from left to right.
func (p *expressionParser) binary(operand func() (string, error), join func(operator, a, b string) string, operators ...string) (string, error) {
	out, err := operand()
	for count := 0; err == nil; count++ {
		operator := p.accept(operators...)
		if operator == "" {
			return out, nil
		}
		if count > maxTerms {
			return "", errors.New("an expression is too long")
		}
		var b string
		b, err = operand()
		out = join(operator, out, b)
	}
	return "", err
}

// arithmetic are the functions of the operators on numbers.
var arithmetic = map[string]string{"+": addName, "-": subtractName, "*": multiplyName, "/": divideName, "//": floorName, "%": remainderName, "**": powerName}

func infix(operator, a, b string) string { return "(" + a + " " + operator + " " + b + ")" }

func (p *expressionParser) or() (string, error) { return p.binary(p.and, infix, "or") }

func (p *expressionParser) and() (string, error) { return p.binary(p.not, infix, "and") }

func (p *expressionParser) not() (string, error) {
	count := 0
	for p.accept("not") != "" {
		count++
	}
	out, err := p.comparison()
	if count > maxNesting {
		return "", errors.New("an expression is too deep")
	}
	return strings.Repeat("(not ", count) + out + strings.Repeat(")", count), err
}

// comparison reads one comparison. Python's chains, such as a < b < c, are refused.
func (p *expressionParser) comparison() (string, error) {
	out, err := p.sum()
	for count := 0; err == nil; count++ {
		operator := p.accept("==", "!=", "<", "<=", ">", ">=", "in")
		if operator == "" && p.peek() == "not" && p.next+1 < len(p.tokens) && p.tokens[p.next+1] == "in" {
			operator, p.next = "not in", p.next+2
		}
		if operator == "" {
			return out, nil
		}
		var b string
		b, err = p.sum()
		if count > 0 {
			out = refuse("a chain of comparisons is not supported")
		} else if strings.ContainsAny(operator, "<>") {
			out = call(compareName, quote(operator), out, b)
		} else {
			out = infix(operator, out, call(boundName, b))
		}
	}
	return "", err
}

func (p *expressionParser) sum() (string, error) {
	return p.binary(p.concatenation, func(operator, a, b string) string {
		return call(arithmetic[operator], a, b)
	}, "+", "-")
}

func (p *expressionParser) concatenation() (string, error) {
	return p.binary(p.product, func(_, a, b string) string { return call(addName, call(textName, a), call(textName, b)) }, "~")
}

func (p *expressionParser) product() (string, error) {
	return p.binary(p.power, func(operator, a, b string) string { return call(arithmetic[operator], a, b) }, "*", "/", "//", "%")
}

func (p *expressionParser) power() (string, error) {
	return p.binary(func() (string, error) { return p.unary(true) }, func(_, a, b string) string { return call(arithmetic["**"], a, b) }, "**")
}

// unary reads a sign, a primary with its attributes and calls, and its filters and tests.
func (p *expressionParser) unary(withFilters bool) (out string, err error) {
	if p.depth++; p.depth > maxNesting {
		return "", errors.New("an expression is too deep")
	}
	defer func() { p.depth-- }()
	if sign := p.accept("-", "+"); sign != "" {
		out, err = p.unary(false)
		out = "(" + sign + out + ")"
	} else if out, err = p.primary(); err == nil {
		out, err = p.postfix(out)
	}
	for count := 0; err == nil && withFilters; count++ {
		if count > maxTerms {
			return "", errors.New("an expression is too long")
		}
		switch {
		case p.accept("|") != "":
			out, err = p.filter(out)
		case p.accept("is") != "":
			out, err = p.test(out)
		default:
			return out, nil
		}
	}
	return out, err
}
