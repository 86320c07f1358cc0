package constrain

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"mop/internal/testutil"
)

// validTexts generates texts of a schema and has each of them checked by the independent validator.
func validTexts(t *testing.T, random *rand.Rand, schema string, n int) {
	t.Helper()
	v, err := testutil.JSONSchema(schema)
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	g := grammarOf(t, schema)
	for range n {
		text := generateText(t, random, g, random.IntN(200))
		if err := testutil.CheckJSON(v, text); err != nil {
			t.Fatalf("%s: %s: %v", schema, text, err)
		}
	}
}

// The schemas of Pydantic, and those that OpenAI's client makes of them, are all supported. See
// testdata/schemas.py.
func TestSchemasOfClients(t *testing.T) {
	data, err := os.ReadFile("testdata/schemas.json")
	if err != nil {
		t.Fatal(err)
	}
	var schemas map[string]json.RawMessage
	if err := json.Unmarshal(data, &schemas); err != nil || len(schemas) < 10 {
		t.Fatalf("%d schemas, %v", len(schemas), err)
	}
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		validTexts(t, rand.New(rand.NewPCG(1, 5)), string(schemas[name]), 12)
	}
}

// Texts of each format are valid, and their lengths are those of the format's regular expression, so that
// limits beside it can be left out.
func TestFormats(t *testing.T) {
	for name := range formats {
		validTexts(t, rand.New(rand.NewPCG(2, 5)), fmt.Sprintf(`{"type":"string","format":%q}`, name), 100)
	}
	for name, most := range map[string]int{"date": 10, "uuid": 36, "email": 254, "hostname": 253, "uri": 2083} { // those of clients, and of the formats themselves
		if _, err := Compile(fmt.Appendf(nil, `{"type":"string","format":%q,"minLength":1,"maxLength":%d}`, name, most)); err != nil {
			t.Errorf("%s of at most %d characters: %v", name, most, err)
		}
	}
}

// A number is a text of a schema with limits if it is within them, has no exponent and few digits.
func TestDecimals(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 5))
	draw := func() string {
		return []string{"", "-"}[random.IntN(2)] + fmt.Sprint(random.IntN([]int{2, 20, 2000}[random.IntN(3)])) + []string{"", "." + fmt.Sprint(random.IntN(10)), fmt.Sprintf(".%03d", random.IntN(1000))}[random.IntN(3)]
	}
	rat := func(text string) *big.Rat { r, _ := new(big.Rat).SetString(text); return r }
	taken := 0
	for range 400 {
		a, b := draw(), draw()
		low, high := []string{"minimum", "exclusiveMinimum"}[random.IntN(2)], []string{"maximum", "exclusiveMaximum"}[random.IntN(2)]
		limits := fmt.Sprintf(`%q:%s,%q:%s`, low, a, high, b)
		switch random.IntN(4) {
		case 0:
			limits = fmt.Sprintf(`%q:%s`, low, a)
			b = "1e15"
		case 1:
			limits = fmt.Sprintf(`%q:%s`, high, b)
			a = "-1e15"
		}
		schema := `{"type":"number",` + limits + `}`
		s, err := Compile([]byte(schema))
		if err != nil {
			if order := rat(a).Cmp(rat(b)); order < 0 || order == 0 && !strings.Contains(limits, "exclusive") {
				t.Errorf("%s: %v", schema, err)
			}
			continue
		}
		g, err := NewGrammar(s, testVocabulary())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []string{draw(), draw(), draw(), draw(), draw(), draw(), a, b, a + "0", b + "1"} {
			if strings.Contains(x, "e") || !json.Valid([]byte(x)) {
				continue
			}
			value := rat(x)
			want := value.Cmp(rat(a)) >= 0 && value.Cmp(rat(b)) <= 0
			if value.Cmp(rat(a)) == 0 && strings.Contains(limits, "exclusiveMinimum") || value.Cmp(rat(b)) == 0 && strings.Contains(limits, "exclusiveMaximum") {
				want = false
			}
			if value.Sign() == 0 && x[0] == '-' {
				want = false // is never written
			}
			if got := takes(t, g, x); got != want {
				t.Errorf("%s: %s: want %t, got %t", schema, x, want, got)
			}
			if want {
				taken++
			}
		}
	}
	if taken < 300 {
		t.Errorf("want more numbers that are valid, got %d", taken)
	}
}

// takes reports whether a text is one of a grammar's.
func takes(t *testing.T, g *Grammar, text string) bool {
	t.Helper()
	at := g.start
	for i := range len(text) {
		var err error
		if at, err = g.a.step(at, text[i]); err != nil {
			t.Fatal(err)
		}
	}
	return at.complete
}

// An integer is a text of a schema with a factor if it is a multiple within the limits.
func TestMultiples(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 5))
	for range 150 {
		factor := 1 + random.IntN([]int{12, 130}[random.IntN(2)])
		if random.IntN(3) == 0 {
			factor *= 10
		}
		low := random.IntN(3000) - 1500
		high := low + random.IntN(3000)
		schema := fmt.Sprintf(`{"type":"integer","multipleOf":%d,"minimum":%d,"maximum":%d}`, factor, low, high)
		s, err := Compile([]byte(schema))
		n := 0
		for x := low; x <= high; x++ {
			if x%factor == 0 {
				n++
			}
		}
		if (err == nil) != (n > 0) {
			t.Errorf("%s: %d multiples: %v", schema, n, err)
		}
		if err != nil {
			continue
		}
		g, err := NewGrammar(s, testVocabulary())
		if err != nil {
			t.Fatal(err)
		}
		for x := low - 200; x <= high+200; x++ {
			if got, want := takes(t, g, fmt.Sprint(x)), x >= low && x <= high && x%factor == 0; got != want {
				t.Fatalf("%s: %d: want %t, got %t", schema, x, want, got)
			}
		}
	}
}

// A pattern beside lengths takes what Go's regular expressions match and what has the length.
func TestPatternsWithLengths(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		pattern := []string{"b", "^a*b?$", "^a", "b$", "a.b", "^(ab|ba){1,3}$", "^$", "", "^[ab]{2}$|b", "(a|^b)c*$", "^(a|bb)+$", "é"}[random.IntN(12)]
		least := random.IntN(4)
		limits, most := fmt.Sprintf(`"minLength":%d`, least), 100
		if random.IntN(3) > 0 {
			most = least + random.IntN(4)
			limits += fmt.Sprintf(`,"maxLength":%d`, most)
		}
		schema := fmt.Sprintf(`{"type":"string","pattern":%q,%s}`, pattern, limits)
		s, err := Compile([]byte(schema))
		var g *Grammar
		if err == nil {
			if g, err = NewGrammar(s, testVocabulary()); err != nil {
				t.Fatal(err)
			}
		}
		expression := regexp.MustCompile(pattern)
		for range 60 {
			var b strings.Builder
			for range random.IntN(8) {
				b.WriteString([]string{"a", "a", "b", "b", "c", "é"}[random.IntN(6)])
			}
			text := b.String()
			n := utf8.RuneCountInString(text)
			want := expression.MatchString(text) && n >= least && n <= most
			if g == nil && want || g != nil && takes(t, g, `"`+text+`"`) != want {
				t.Fatalf("%s: %q: want %t, got %v", schema, text, want, err)
			}
		}
	}
}

// Where two schemas are said to exclude each other, the independent validator finds no value that
// satisfies both.
func TestExclusive(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 5))
	pool := []string{`null`, `true`, `1`, `1.0`, `1.5`, `-3`, `7`, `1e2`, `""`, `"a"`, `"b"`, `[]`, `[1]`, `{}`, `{"k":"a"}`, `{"k":"b"}`, `{"k":1}`, `{"k":1.0}`, `{"k":"a","v":1}`, `{"v":1}`, `{"v":null}`, `{"k":{"k":"a"}}`, `{"k":null,"v":"a"}`}
	var simple func(depth int) string
	simple = func(depth int) string {
		n := 12
		if depth == 0 {
			n = 7
		}
		switch random.IntN(n) {
		case 0:
			return []string{`{"type":"null"}`, `{"type":"boolean"}`, `{"type":"string"}`, `{"type":"number"}`, `{"type":"integer"}`, `{"type":"array"}`, `{"type":"object"}`, `{"type":["string","null"]}`, `{}`, `false`, `true`}[random.IntN(11)]
		case 1, 2:
			return fmt.Sprintf(`{"const":%s}`, pool[random.IntN(len(pool))])
		case 3:
			return fmt.Sprintf(`{"enum":[%s,%s]}`, pool[random.IntN(len(pool))], pool[random.IntN(len(pool))])
		case 4:
			return fmt.Sprintf(`{"type":"integer","minimum":%d}`, random.IntN(9)-4)
		case 5:
			return fmt.Sprintf(`{"type":["number","null"],"exclusiveMaximum":%d}`, random.IntN(9)-4)
		case 6:
			return fmt.Sprintf(`{"enum":[%s,%s],"type":%q}`, pool[random.IntN(len(pool))], pool[random.IntN(len(pool))], []string{"string", "integer", "number", "object"}[random.IntN(4)])
		case 7:
			return fmt.Sprintf(`{"anyOf":[%s,%s]}`, simple(depth-1), simple(depth-1))
		}
		required := []string{"", `,"required":["k"]`, `,"required":["v","k"]`}[random.IntN(3)]
		more := []string{"", `,"additionalProperties":false`, `,"additionalProperties":{"type":"integer"}`}[random.IntN(3)]
		kind := []string{`"type":"object",`, `"type":"object",`, ``}[random.IntN(3)]
		name := []string{"k", "v"}[random.IntN(2)]
		return fmt.Sprintf(`{%s"properties":{%q:%s}%s%s}`, kind, name, simple(depth-1), required, more)
	}
	exclusive := 0
	for range 3000 {
		a, b := simple(2), simple(2)
		if _, err := Compile([]byte(`{"oneOf":[` + a + `,` + b + `]}`)); err != nil {
			continue
		}
		exclusive++
		x, err := testutil.JSONSchema(a)
		if err != nil {
			t.Fatal(err)
		}
		y, err := testutil.JSONSchema(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range pool {
			if testutil.CheckJSON(x, value) == nil && testutil.CheckJSON(y, value) == nil {
				t.Fatalf("%s and %s: %s satisfies both", a, b, value)
			}
		}
	}
	if exclusive < 500 {
		t.Errorf("want more schemas that exclude each other, got %d", exclusive)
	}
}

// Schemas that refer to others again and again cost a limited number of looks.
func TestLooksAreLimited(t *testing.T) {
	var defs strings.Builder
	for i := range 60 {
		fmt.Fprintf(&defs, `,"d%d":{"anyOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i, i+1, i+1)
	}
	defs.WriteString(`,"d60":{"const":1}`)
	for _, schema := range []string{
		`{"oneOf":[{"$ref":"#/$defs/d0"},{"const":2}],"$defs":{"x":{}` + defs.String() + `}}`,
		`{"type":"array","uniqueItems":true,"items":{"$ref":"#/$defs/d0"},"$defs":{"x":{}` + defs.String() + `}}`,
	} {
		root, err := parseJSON([]byte(schema))
		if err != nil {
			t.Fatal(err)
		}
		c := &compiler{root: root, rules: map[string]int32{}, shared: map[string]int32{}}
		if _, err = c.rule(root, ""); err == nil || c.looks > 2*maxLooks {
			t.Errorf("%.40s: want an error after at most %d looks, got %v after %d", schema, maxLooks, err, c.looks)
		}
	}
}
