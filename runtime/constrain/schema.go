package constrain

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// MaxSchemaBytes is how large the text of a schema may be.
const MaxSchemaBytes = 64 << 10

// Schema is a compiled JSON schema.
type Schema struct {
	p    program
	root int32
}

// compiler turns a schema into a program.
type compiler struct {
	root   any
	p      program
	rules  map[string]int32 // of schemas by their JSON pointers
	shared map[string]int32 // rules that several schemas use, by name
	looks  int              // at schemas, by what finds out how they relate
}

// Compile compiles a schema. An error names the keyword that is not supported or wrong.
func Compile(schema []byte) (*Schema, error) {
	if len(schema) > MaxSchemaBytes {
		return nil, fmt.Errorf("want at most %d bytes, got %d", MaxSchemaBytes, len(schema))
	}
	root, err := parseJSON(schema)
	if err != nil {
		return nil, fmt.Errorf("want JSON: %w", err)
	}
	c := &compiler{root: root, rules: map[string]int32{}, shared: map[string]int32{}}
	value, err := c.rule(root, "")
	if err != nil {
		return nil, err
	}
	return c.finish(value)
}

// finish makes the schema of a value, which white space may precede: many tokenizers begin a
// text with a space.
func (c *compiler) finish(value int32) (*Schema, error) {
	root := c.p.addRule()
	middle := c.p.addState()
	c.p.call(c.p.rules[root].start, middle, c.space())
	c.p.call(middle, c.p.rules[root].end, value)
	if c.p.full() {
		return nil, errTooLarge
	}
	if err := c.p.checkRecursion(); err != nil {
		return nil, err
	}
	if !c.p.trim(root) {
		return nil, errors.New("no finite value satisfies the schema")
	}
	return &Schema{c.p, root}, nil
}

var errTooLarge = fmt.Errorf("the schema is too large: its automaton has more than %d states", maxStates)

// rule gives the rule of a schema, which stands at a JSON pointer.
func (c *compiler) rule(schema any, at string) (int32, error) {
	if r, ok := c.rules[at]; ok {
		return r, nil
	}
	r := c.p.addRule()
	c.rules[at] = r
	from, to := c.p.rules[r].start, c.p.rules[r].end
	switch s := schema.(type) {
	case bool:
		if s {
			c.p.call(from, to, c.any())
		}
		return r, nil
	case *members:
		if c.p.full() {
			return 0, errTooLarge
		}
		return r, c.compile(from, to, s, at)
	}
	return 0, fmt.Errorf("%s: want a schema, got %s", name(at), clip(compact(schema)))
}

// annotations say nothing about which values are valid.
var annotations = []string{"title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "$defs", "definitions", "deprecated", "readOnly", "writeOnly", "discriminator"}

// keywords of each type.
var keywords = map[string][]string{
	"object":  {"properties", "required", "additionalProperties"},
	"array":   {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"},
	"string":  {"minLength", "maxLength", "pattern", "format"},
	"integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
	"number":  {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
	"boolean": {},
	"null":    {},
}

// types in the order in which alternatives are tried.
var types = []string{"object", "array", "string", "integer", "number", "boolean", "null"}

// compile adds the paths of a schema that is an object.
func (c *compiler) compile(from, to int32, s *members, at string) error {
	has := func(keyword string) bool { _, ok := s.values[keyword]; return ok }
	switch {
	case has("$id") && at != "": // references below it would begin there
		return fmt.Errorf("%s: is only supported at the root of the schema", name(at+"/$id"))
	case has("format") && formats[textOf(s.values["format"])] == "":
		return fmt.Errorf("%s: want one of %s, got %s", name(at+"/format"), formatNames(), clip(compact(s.values["format"])))
	case has("$ref"):
		if err := s.only(at, "$ref"); err != nil {
			return err
		}
		return c.reference(from, to, s.values["$ref"], at)
	case has("anyOf"):
		if err := s.only(at, "anyOf"); err != nil {
			return err
		}
		return c.alternatives(from, to, s.values["anyOf"], at+"/anyOf", -1)
	case has("oneOf"):
		if err := s.only(at, "oneOf"); err != nil {
			return err
		}
		if err := c.alternatives(from, to, s.values["oneOf"], at+"/oneOf", -1); err != nil {
			return err
		}
		return c.checkExclusive(s.values["oneOf"].([]any), at+"/oneOf")
	case has("allOf"):
		if err := s.only(at, "allOf"); err != nil {
			return err
		}
		return c.alternatives(from, to, s.values["allOf"], at+"/allOf", 1)
	case has("enum"):
		if err := s.only(at, "enum", "type"); err != nil {
			return err
		}
		list, ok := s.values["enum"].([]any)
		if !ok || len(list) == 0 {
			return fmt.Errorf("%s: want an array of values, got %s", name(at+"/enum"), clip(compact(s.values["enum"])))
		}
		return c.constants(from, to, list, s, at)
	case has("const"):
		if err := s.only(at, "const", "type"); err != nil {
			return err
		}
		return c.constants(from, to, []any{s.values["const"]}, s, at)
	}
	return c.typed(from, to, s, at)
}

// only refuses keywords beside some, except annotations.
func (s *members) only(at string, keywords ...string) error {
	for _, k := range s.names {
		if !slices.Contains(annotations, k) && !slices.Contains(keywords, k) {
			if !known(k) {
				return unsupported(at, k)
			}
			return fmt.Errorf("%s: is not supported beside %s", name(at+"/"+k), keywords[0])
		}
	}
	return nil
}

// known reports whether a keyword is supported somewhere.
func known(keyword string) bool {
	for _, list := range keywords {
		if slices.Contains(list, keyword) {
			return true
		}
	}
	return slices.Contains([]string{"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"}, keyword)
}

func unsupported(at, keyword string) error {
	return fmt.Errorf("%s: the keyword %q is not supported", name(at), clip(keyword))
}

// reference adds the paths of a schema elsewhere in the document.
func (c *compiler) reference(from, to int32, ref any, at string) error {
	pointer, schema, err := c.target(ref)
	if err != nil {
		return fmt.Errorf("%s: %w", name(at+"/$ref"), err)
	}
	r, err := c.rule(schema, pointer)
	if err == nil {
		c.p.call(from, to, r)
	}
	return err
}

// target gives the JSON pointer of a reference, and the schema there.
func (c *compiler) target(ref any) (pointer string, schema any, err error) {
	text, ok := ref.(string)
	pointer, local := strings.CutPrefix(text, "#")
	if !ok || !local {
		return "", nil, fmt.Errorf("want a reference within the schema such as \"#/$defs/name\", got %s", clip(compact(ref)))
	}
	if pointer, err = url.PathUnescape(pointer); err != nil {
		return "", nil, err
	}
	if schema, ok = c.find(pointer); !ok {
		return "", nil, fmt.Errorf("there is no %s", clip(text))
	}
	return pointer, schema, nil
}

// find gives the value at a JSON pointer.
func (c *compiler) find(pointer string) (any, bool) {
	at := c.root
	if pointer == "" {
		return at, true
	}
	if pointer[0] != '/' {
		return nil, false
	}
	for part := range strings.SplitSeq(pointer[1:], "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch v := at.(type) {
		case *members:
			next, ok := v.values[part]
			if !ok {
				return nil, false
			}
			at = next
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			at = v[i]
		default:
			return nil, false
		}
	}
	return at, true
}

// alternatives adds the paths of each schema of a list of exactly n, -1 = any number.
func (c *compiler) alternatives(from, to int32, list any, at string, n int) error {
	schemas, ok := list.([]any)
	if !ok || len(schemas) == 0 {
		return fmt.Errorf("%s: want an array of schemas, got %s", name(at), clip(compact(list)))
	}
	if n >= 0 && len(schemas) != n {
		return fmt.Errorf("%s: is supported with %d schema, got %d", name(at), n, len(schemas))
	}
	for i, s := range schemas {
		r, err := c.rule(s, at+"/"+strconv.Itoa(i))
		if err != nil {
			return err
		}
		c.p.call(from, to, r)
	}
	return nil
}

// constants adds a path for each of some values that have the schema's type.
func (c *compiler) constants(from, to int32, list []any, s *members, at string) error {
	list, err := s.ofTypes(list, at)
	if err != nil {
		return err
	}
	var texts []string
	for _, v := range list {
		texts = append(texts, compact(v))
	}
	if c.p.literals(from, to, texts); c.p.full() {
		return errTooLarge
	}
	return nil
}

// ofTypes gives those of some values that have a type of the schema.
func (s *members) ofTypes(list []any, at string) (of []any, err error) {
	allowed, err := s.types(at)
	for _, v := range list {
		if t := typeOf(v); slices.Contains(allowed, t) || t == "integer" && slices.Contains(allowed, "number") {
			of = append(of, v)
		}
	}
	return of, err
}

// types lists the types that a schema names. Where it names none, they are those that its
// keywords are about, or all.
func (s *members) types(at string) (list []string, err error) {
	switch t := s.values["type"].(type) {
	case string:
		list = []string{t}
	case []any:
		for _, x := range t {
			one, _ := x.(string)
			list = append(list, one)
		}
	case nil:
		if _, ok := s.values["type"]; ok {
			return nil, fmt.Errorf("%s: want a type, got null", name(at+"/type"))
		}
		for _, t := range types {
			if slices.ContainsFunc(keywords[t], func(k string) bool { _, ok := s.values[k]; return ok }) {
				list = append(list, t)
			}
		}
		if len(list) == 0 {
			return types, nil
		}
		return list, nil
	}
	for _, t := range list {
		if !slices.Contains(types, t) {
			return nil, fmt.Errorf("%s: want one of %s, got %s", name(at+"/type"), strings.Join(types, ", "), clip(compact(s.values["type"])))
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: want a type or an array of types, got %s", name(at+"/type"), clip(compact(s.values["type"])))
	}
	return list, nil
}

// typed adds the paths of a schema by its types.
func (c *compiler) typed(from, to int32, s *members, at string) error {
	list, err := s.types(at)
	if err != nil {
		return err
	}
	supported := []string{"type"}
	for _, t := range types {
		if slices.Contains(list, t) || t == "integer" && slices.Contains(list, "number") {
			supported = append(supported, keywords[t]...)
		}
	}
	for _, k := range s.names {
		switch {
		case slices.Contains(annotations, k), slices.Contains(supported, k):
		case known(k): // of another type: has no effect
		default:
			return unsupported(at, k)
		}
	}
	_, typed := s.values["type"]
	if !typed && len(list) == len(types) {
		c.p.call(from, to, c.any())
		return nil
	}
	for _, t := range types {
		if !slices.Contains(list, t) {
			continue
		}
		if err := c.oneType(from, to, t, s, at); err != nil {
			return err
		}
	}
	return nil
}

// oneType adds the paths of the values of one type.
func (c *compiler) oneType(from, to int32, t string, s *members, at string) error {
	switch t {
	case "object":
		return c.object(from, to, s, at)
	case "array":
		return c.array(from, to, s, at)
	case "string":
		return c.text(from, to, s, at)
	case "integer":
		return c.integer(from, to, s, at)
	case "number":
		return c.decimal(from, to, s, at)
	case "boolean":
		c.p.literal(from, to, "true")
		c.p.literal(from, to, "false")
	case "null":
		c.p.literal(from, to, "null")
	}
	return nil
}

// any is the rule of any JSON value.
func (c *compiler) any() int32 {
	return c.share("any", func(from, to int32) {
		for _, t := range types {
			if t != "integer" { // which is a number
				// An empty schema has no keyword that could be wrong.
				c.oneType(from, to, t, &members{}, "")
			}
		}
	})
}

// share gives a rule that is made when it is first needed.
func (c *compiler) share(name string, add func(from, to int32)) int32 {
	r, ok := c.shared[name]
	if !ok {
		r = c.p.addRule()
		c.shared[name] = r
		add(c.p.rules[r].start, c.p.rules[r].end)
	}
	return r
}

// count reads a keyword whose value is a number of 0 or more.
func (s *members) count(keyword string, absent int, at string) (int, error) {
	v, ok := s.values[keyword]
	if !ok {
		return absent, nil
	}
	n, ok := integerOf(v)
	if !ok || n.Sign() < 0 || !n.IsInt64() {
		return 0, fmt.Errorf("%s: want a whole number of 0 or more, got %s", name(at+"/"+keyword), clip(compact(v)))
	}
	if n.Int64() > maxStates {
		return 0, fmt.Errorf("%s: %w", name(at+"/"+keyword), errTooLarge)
	}
	return int(n.Int64()), nil
}

// name is how errors name a place in a schema.
func name(pointer string) string { return "schema" + strings.ReplaceAll(pointer, "/", ".") }

// clip shortens a text for an error.
func clip(text string) string {
	const most = 60
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
