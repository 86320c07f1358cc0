package constrain

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
)

// eos is the token that ends texts of testVocabulary.
const eos = 0

// testVocabulary has a token for each byte, some with more bytes, and some that stand for no
// text.
func testVocabulary() *Vocabulary {
	texts := [][]byte{nil, nil}
	for b := range 256 {
		texts = append(texts, []byte{byte(b)})
	}
	for _, t := range []string{`{"`, `":`, `": `, `", "`, `","`, `"}`, `"]`, "}}", "],", "\n  ", "\n\n", " {", "true", "fals", "ul", "12", "00", ".5", "e1", "é", "日本", "\\u00", "\\ud83d", "aaaaaaaa", "name", "ab\"c", "\xe6\x97", "\x97", "x\xe6", "\xa5\"", `\"`, `\\`, "-1", "10", "1,", ",1"} {
		texts = append(texts, []byte(t))
	}
	texts = append(texts, []byte("}}")) // two tokens of one text
	return NewVocabulary(len(texts)+3, func(i int) []byte {
		if i < len(texts) {
			return texts[i]
		}
		return nil
	}, []int{eos})
}

func grammarOf(t testing.TB, schema string) *Grammar {
	t.Helper()
	s, err := Compile([]byte(schema))
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	g, err := NewGrammar(s, testVocabulary())
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	return g
}

// accepts reports whether a text is one of a schema's.
func accepts(t testing.TB, schema, text string) bool {
	t.Helper()
	g := grammarOf(t, schema)
	at := g.start
	for i := range len(text) {
		var err error
		if at, err = g.a.step(at, text[i]); err != nil {
			t.Fatal(err)
		}
	}
	return at.complete
}

// Each schema takes some texts and not others.
func TestTexts(t *testing.T) {
	const point = `{"type":"object","properties":{"x":{"type":"integer"},"y":{"type":"integer"},"z":{"type":"integer"}},"required":["y"]}`
	for _, c := range []struct {
		schema  string
		yes, no []string
	}{
		{`{"type":"null"}`, []string{"null", " null", "\n  null"}, []string{"", "nul", "null ", "  null", "true"}},
		{`{"type":"boolean"}`, []string{"true", "false"}, []string{"True", "0"}},
		{`{"type":"integer"}`, []string{"0", "-0", "7", "-12", "123456789012345678"}, []string{"", "-", "01", "1.0", "1e3", "+1", "1234567890123456789"}},
		{`{"type":"number"}`, []string{"0", "-1.5", "1e5", "1.25E-10", "0.0"}, []string{".5", "1.", "1e", "1e100", "00", "NaN"}},
		{`{"type":"integer","minimum":-3,"maximum":117}`, []string{"-3", "-1", "0", "9", "10", "99", "100", "117"}, []string{"-4", "118", "200", "1000", "-03", "-0.5"}},
		{`{"type":"integer","minimum":0}`, []string{"0", "5", "999999999999999999"}, []string{"-1", "-0"}},
		{`{"type":"integer","exclusiveMinimum":98,"exclusiveMaximum":1003}`, []string{"99", "100", "999", "1002"}, []string{"98", "1003", "9", "0"}},
		{`{"type":"integer","maximum":-25}`, []string{"-25", "-30", "-100"}, []string{"-24", "0", "25", "-3"}},
		{`{"type":"string"}`, []string{`""`, `"a b"`, `"\n\u00e9"`, `"é日😀"`, `"\ud83d\ude00"`, `"\u4f60\uD7ff\ue000\uFFFF"`}, []string{`"`, `"a`, `a`, "\"\n\"", `"\x"`, `"\u12"`, `"\ud83d"`, `"\ude00"`, "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\""}},
		{`{"type":"string","minLength":2,"maxLength":3}`, []string{`"ab"`, `"日本語"`, `"\n\"a"`, `"\ud83d\ude00b"`}, []string{`""`, `"a"`, `"abcd"`, `"\ud83d\ude00"`}},
		{`{"type":"string","minLength":2}`, []string{`"ab"`, `"abcdefg"`}, []string{`"a"`}},
		{`{"type":"string","maxLength":0}`, []string{`""`}, []string{`"a"`}},
		{`{"type":"string","pattern":"^[a-c]+\\d?$"}`, []string{`"a"`, `"abc1"`}, []string{`""`, `"d"`, `"a11"`, `"xa"`}},
		{`{"type":"string","pattern":"b"}`, []string{`"b"`, `"abc"`, `"\nb日"`}, []string{`""`, `"ac"`}},
		{`{"type":"string","pattern":"^(?:\"|\\\\|\n|日)$"}`, []string{`"\""`, `"\\"`, `"\n"`, `"日"`}, []string{`"x"`, `"本"`, "\"\n\""}},
		{`{"type":"string","pattern":"^(?i)ok|no$"}`, []string{`"OK"`, `"okay"`, `"yes no"`}, []string{`"book"`, `"nope"`}},
		{`{"type":"string","pattern":"b","maxLength":3,"minLength":2}`, []string{`"ab"`, `"bb"`, `"abc"`, `"aab"`, `"\nb日"`}, []string{`"b"`, `""`, `"abcd"`, `"aaab"`, `"baaa"`, `"aaa"`}},
		{`{"type":"string","pattern":"^a+$","maxLength":3}`, []string{`"a"`, `"aaa"`}, []string{`"aaaa"`, `""`, `"b"`}},
		{`{"type":"string","pattern":"^a*","minLength":2}`, []string{`"aa"`, `"xy"`, `"axxxxxxx"`}, []string{`""`, `"a"`, `"x"`}},
		{`{"type":"string","pattern":"x$","minLength":2}`, []string{`"ax"`, `"aaax"`}, []string{`"x"`, `"xa"`}},
		{`{"type":"string","pattern":"","maxLength":1}`, []string{`""`, `"a"`}, []string{`"aa"`}},
		{`{"type":"string","format":"date"}`, []string{`"2026-11-30"`, `"2024-02-29"`, `"2000-02-29"`, `"0001-01-01"`, `"9999-12-31"`}, []string{`"2026-11-31"`, `"2026-02-29"`, `"1900-02-29"`, `"2026-13-01"`, `"2026-00-10"`, `"2026-01-00"`, `"0000-01-01"`, `"0000-02-29"`, `"2026-1-1"`, `"2026-11-30 "`}},
		{`{"type":"string","format":"date-time"}`, []string{`"2026-11-30T23:59:59Z"`, `"2026-11-30T00:00:00.123+01:30"`}, []string{`"2026-11-30T24:00:00Z"`, `"2026-11-30T23:59:60Z"`, `"2026-11-30 23:59:59Z"`, `"2026-11-30T23:59:59"`, `"2026-11-30T23:59:59.Z"`}},
		{`{"type":"string","format":"time"}`, []string{`"12:00:00Z"`, `"12:00:00.5-00:59"`}, []string{`"12:00Z"`, `"12:60:00Z"`}},
		{`{"type":"string","format":"duration"}`, []string{`"P1Y2M3DT4H5M6S"`, `"PT1M"`, `"P2W"`, `"P1D"`}, []string{`"P"`, `"PT"`, `"P1YT"`, `"P1D2Y"`, `"1D"`}},
		{`{"type":"string","format":"uuid"}`, []string{`"f81d4fae-7dec-11d0-A765-00a0c91e6bf6"`}, []string{`"f81d4fae-7dec-11d0-a765-00a0c91e6bf"`, `"f81d4fae7dec11d0a76500a0c91e6bf6"`}},
		{`{"type":"string","format":"email","maxLength":320}`, []string{`"a@b.org"`, `"a.b+c@x-y.example.com"`}, []string{`"a"`, `"@b.org"`, `".a@b.org"`, `"a..b@c.org"`, `"a@-b.org"`, `"a@b"`, `"a b@c.org"`}},
		{`{"type":"string","format":"hostname"}`, []string{`"a.example.org"`}, []string{`"a..b"`, `"-a.org"`, `"a_b.org"`}},
		{`{"type":"string","format":"ipv4"}`, []string{`"127.0.0.1"`, `"255.255.255.255"`}, []string{`"256.0.0.1"`, `"1.2.3"`, `"01.2.3.4"`}},
		{`{"type":"string","format":"ipv6"}`, []string{`"::"`, `"::1"`, `"fe80::1"`, `"1:2:3:4:5:6:7:8"`, `"1::8"`}, []string{`":"`, `"1:2:3"`, `"1::2::3"`, `"1:2:3:4:5:6:7:8:9"`, `"12345::"`}},
		{`{"type":"string","format":"uri","minLength":1,"maxLength":2083}`, []string{`"https://example.org"`, `"http://a.example.org:80/x/y%20z?q=1#f"`}, []string{`"example.org"`, `"https://"`, `"https://a b.org"`, `"https://example.org/%zz"`}},
		{`{"type":"array","prefixItems":[{"type":"null"},{"type":"boolean"}],"items":false}`, []string{`[]`, `[null]`, `[null,true]`}, []string{`[true]`, `[null,true,null]`}},
		{`{"type":"array","prefixItems":[{"type":"null"},{"type":"boolean"}],"minItems":2,"maxItems":2}`, []string{`[null,true]`}, []string{`[]`, `[null]`, `[null,true,null]`}},
		{`{"type":"array","prefixItems":[{"type":"null"}],"items":{"type":"boolean"}}`, []string{`[]`, `[null]`, `[null,true,false,true]`}, []string{`[true]`, `[null,null]`}},
		{`{"type":"array","items":{"enum":["a","b",1,1.0]},"uniqueItems":true}`, []string{`[]`, `["b"]`, `["b","a"]`, `["a",1.0, "b"]`, `[1]`}, []string{`["a","a"]`, `[1,1.0]`, `["a",1,"b",1]`}},
		{`{"type":"array","items":{"$ref":"#/$defs/e"},"uniqueItems":true,"minItems":1,"maxItems":2,"$defs":{"e":{"anyOf":[{"type":"boolean"},{"const":null}]}}}`, []string{`[true]`, `[null,true]`}, []string{`[]`, `[true,true]`, `[true,false,null]`}},
		{`{"type":"array","items":{"type":"string"},"uniqueItems":false}`, []string{`["a","a"]`}, nil},
		{`{"type":"array","items":{"type":"string"},"uniqueItems":true,"maxItems":1}`, []string{`[]`, `["a"]`}, []string{`["a","a"]`}},
		{`{"type":"number","minimum":0,"maximum":1}`, []string{"0", "1", "0.5", "0.00000000000001", "1.0", "0.0"}, []string{"-0.1", "1.1", "1.00000000000001", "2", "1e-1", "-0", "10"}},
		{`{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1}`, []string{"0.5", "0.10", "0.99999999999999", "0.00000000000001"}, []string{"0", "1", "0.0", "1.0", "0.00000000000000"}},
		{`{"type":"number","minimum":-2.5,"exclusiveMaximum":-1.25}`, []string{"-2.5", "-2.50", "-2", "-1.3", "-1.26", "-1.250001"}, []string{"-2.51", "-3", "-1.25", "-1.250", "-1.2", "-1", "0", "2"}},
		{`{"type":"number","minimum":98.6}`, []string{"98.6", "98.60", "99", "98.7", "1000.5", "999999999999999"}, []string{"98.5", "98", "98.59", "9", "-99"}},
		{`{"type":"number","maximum":3}`, []string{"3", "3.0", "2.99", "0.5", "-0.5", "-17", "-999999999999999.0"[:16]}, []string{"3.1", "3.01", "4", "30"}},
		{`{"type":"number","minimum":1.5,"maximum":1.5}`, []string{"1.5", "1.50"}, []string{"1", "1.4", "1.51", "1.6"}},
		{`{"type":["number","null"],"minimum":5e0,"exclusiveMaximum":12.5}`, []string{"5", "12", "12.4", "12.49", "9.9", "null"}, []string{"12.5", "12.50", "4.9", "13"}},
		{`{"type":"integer","minimum":0.5,"exclusiveMaximum":3.5}`, []string{"1", "3"}, []string{"0", "4"}},
		{`{"type":"integer","exclusiveMinimum":-2.5,"maximum":-1}`, []string{"-2", "-1"}, []string{"-3", "0"}},
		{`{"type":"integer","multipleOf":7}`, []string{"0", "7", "-7", "49", "700", "999999999999999999", "-14"}, []string{"1", "6", "8", "-1", "77777777777777777777", "07"}},
		{`{"type":"integer","multipleOf":300,"minimum":-650,"maximum":1200}`, []string{"-600", "-300", "0", "300", "900", "1200"}, []string{"-900", "1500", "100", "301", "-100"}},
		{`{"type":"integer","multipleOf":1}`, []string{"0", "5", "-12"}, []string{"00"}},
		{`{"type":"integer","multipleOf":13,"exclusiveMinimum":13,"maximum":143}`, []string{"26", "39", "91", "104", "130", "143"}, []string{"13", "0", "156", "140"}},
		{`{"oneOf":[{"type":"null"},{"type":"string"},{"type":["integer","boolean"]}]}`, []string{`null`, `"a"`, `7`, `true`}, []string{`[]`, `1.5`}},
		{`{"oneOf":[{"type":"integer","maximum":2},{"type":"integer","minimum":5}]}`, []string{`2`, `5`}, []string{`3`}},
		{`{"oneOf":[{"enum":["a",1]},{"enum":["b",2]}]}`, []string{`"a"`, `2`}, []string{`3`}},
		{`{"oneOf":[{"$ref":"#/$defs/cat"},{"$ref":"#/$defs/dog"}],"discriminator":{"propertyName":"kind","mapping":{"cat":"#/$defs/cat"}},"$defs":{"cat":{"type":"object","properties":{"kind":{"const":"cat"},"lives":{"type":"integer"}},"required":["kind","lives"]},"dog":{"type":"object","properties":{"kind":{"const":"dog"}},"required":["kind"]}}}`,
			[]string{`{"kind":"cat","lives":9}`, `{"kind":"dog"}`}, []string{`{"kind":"dog","lives":9}`, `{"kind":"cow"}`}},
		{`{"oneOf":[{"type":"object","properties":{"a":{"type":"null"}},"required":["a"],"additionalProperties":false},{"type":"object","properties":{"b":{"type":"null"}},"additionalProperties":false}]}`, []string{`{"a":null}`, `{"b":null}`, `{}`}, []string{`{"a":null,"b":null}`}},
		{`{"enum":["a",1,null,{"k":[true]},"é\""]}`, []string{`"a"`, `1`, `null`, `{"k":[true]}`, `"é\""`}, []string{`"b"`, `{"k": [true]}`}},
		{`{"type":"string","enum":["a",1]}`, []string{`"a"`}, []string{"1"}},
		{`{"type":"integer","enum":[1e2,2.0,` + strings.Repeat("9", 50) + `,0.5,1e-2]}`, []string{"1e2", "2.0", strings.Repeat("9", 50)}, []string{"100", "0.5", "1e-2"}},
		{`{"type":"integer","minimum":1e1,"maximum":1.5e1}`, []string{"10", "15"}, []string{"9", "16"}},
		{`{"const":"x","description":"d"}`, []string{`"x"`}, []string{`"y"`}},
		{point, []string{`{"y":1}`, `{"x":1,"y":2}`, `{"y":1,"z":2}`, `{"x":1, "y": 2,"z":3}`, "{\n  \"y\": 1\n}"}, []string{`{}`, `{"x":1}`, `{"y":1,"x":2}`, `{"y":1,}`, `{"y":1,"w":2}`, `{"y" :1}`, `{"y":1`, `{,"y":1}`}},
		{`{"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"}}}`, []string{`{}`, `{ }`, `{"a":null}`, `{"b":null}`, `{"a":null,"b":null}`}, []string{`{"b":null,"a":null}`, `{"a":null "b":null}`}},
		{`{"type":"object","properties":{"ab":{"type":"null"},"a":{"type":"null"}},"additionalProperties":{"type":"boolean"}}`,
			[]string{`{}`, `{"x":true}`, `{"abc":true}`, `{"":false}`, `{"ab":null,"x":true,"y":false}`, `{"b":true}`}, []string{`{"ab":true}`, `{"a":true}`, `{"x":null}`, `{"x":true,"ab":null}`, `{"\u0061":true}`}},
		{`{"type":"object"}`, []string{`{}`, `{"a":[1,{"b":"c"}]}`}, []string{`[]`, `{"a"}`}},
		{`{"type":"object","additionalProperties":false}`, []string{`{}`}, []string{`{"a":1}`}},
		{`{"type":"object","required":["q"]}`, []string{`{"q":[]}`, `{"q":1,"r":2}`}, []string{`{}`, `{"r":2}`}},
		{`{"type":"array","items":{"type":"null"}}`, []string{`[]`, `[ ]`, `[null]`, `[null, null,null]`}, []string{`[`, `[,]`, `[null,]`, `[true]`}},
		{`{"type":"array","items":{"type":"null"},"minItems":1,"maxItems":2}`, []string{`[null]`, `[null,null]`}, []string{`[]`, `[null,null,null]`}},
		{`{"type":"array","minItems":2,"items":{"type":"null"}}`, []string{`[null,null]`, `[null,null,null,null]`}, []string{`[null]`}},
		{`{"type":"array","maxItems":0}`, []string{`[]`}, []string{`[1]`}},
		{`{"type":"array","items":false}`, []string{`[]`}, []string{`[1]`}},
		{`{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#"}}]}`, []string{`null`, `[]`, `[null,[[]]]`}, []string{`[1]`}},
		{`{"$ref":"#/$defs/a~1b","$defs":{"a/b":{"type":"object","properties":{"next":{"$ref":"#/$defs/a%2Fb"}}}}}`, nil, nil},
		{`{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}}}`,
			[]string{`{"v":1,"next":null}`, `{"v":1,"next":{"v":2,"next":null}}`}, []string{`{"v":1}`, `{"v":1,"next":{}}`}},
		{`{"type":["string","null"],"maxLength":1}`, []string{`null`, `"a"`}, []string{`"ab"`, `1`}},
		{`{"properties":{"a":{"type":"null"}}}`, []string{`{"a":null}`}, []string{`[]`}},
		{`{"allOf":[{"type":"null"}]}`, []string{`null`}, []string{`1`}},
		{`{}`, []string{`null`, `[1,"a",{"b":{}}]`, `-2.5`, `true`}, []string{`nul`, `[1,]`}},
		{`true`, []string{`null`, `{}`}, nil},
		{`{"anyOf":[{"type":"object","properties":{"self":{"$ref":"#"}},"required":["self"]},{"type":"null"}]}`, []string{`null`, `{"self":null}`, `{"self":{"self":null}}`}, []string{`{}`}},
	} {
		if c.yes == nil && c.no == nil { // an error: the pointer has no such name
			if _, err := Compile([]byte(c.schema)); err == nil {
				t.Errorf("%s: want an error", c.schema)
			}
			continue
		}
		for _, text := range c.yes {
			if !accepts(t, c.schema, text) {
				t.Errorf("%s: does not take %s", c.schema, text)
			}
		}
		for _, text := range c.no {
			if accepts(t, c.schema, text) {
				t.Errorf("%s: takes %s", c.schema, text)
			}
		}
	}
}

// A schema that is wrong, not supported or too large is an error that names the place.
func TestRefusedSchemas(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"object","properties":{"a":{"type":"string","format":"regex"}}}`:     "schema.properties.a.format: want one of date, date-time, duration, email",
		`{"type":"integer","format":"int32"}`:                                         "schema.format: want one of",
		`{"type":"string","format":7}`:                                                "schema.format: want one of",
		`{"type":"string","format":"date","pattern":"1"}`:                             "schema.format: is not supported beside pattern",
		`{"type":"string","format":"uri","maxLength":20000,"minLength":9000}`:         "schema.format: the schema is too large",
		`{"type":"string","patternProperties":{}}`:                                    `schema: the keyword "patternProperties"`,
		`{"not":{"type":"null"}}`:                                                     `"not"`,
		`{"type":"object","minProperties":1}`:                                         `"minProperties"`,
		`{"oneOf":[]}`:                                                                "schema.oneOf",
		`{"oneOf":[{"type":"null"}],"type":"null"}`:                                   "schema.type: is not supported beside oneOf",
		`{"oneOf":[{"type":"string"},{"type":"null"},{"enum":["a",1]}]}`:              "schema.oneOf: a value could satisfy both 0 and 2",
		`{"oneOf":[{"type":"number"},{"type":"integer"}]}`:                            "schema.oneOf: a value could satisfy both",
		`{"oneOf":[{"const":1},{"const":1.0}]}`:                                       "schema.oneOf: a value could satisfy both",
		`{"oneOf":[{"const":1e50},{"const":1e51}]}`:                                   "schema.oneOf: a value could satisfy both",
		`{"oneOf":[{"type":"string","maxLength":1},{"type":"string","minLength":2}]}`: "schema.oneOf: a value could satisfy both",
		`{"oneOf":[{"type":"integer","maximum":3},{"type":"integer","minimum":3}]}`:   "schema.oneOf: a value could satisfy both",
		`{"oneOf":[{"properties":{"k":{"const":1}},"required":["k"]},{"properties":{"k":{"const":2}},"required":["k"]}]}`: "schema.oneOf: a value could satisfy both", // neither is of one type
		`{"oneOf":[{"type":"object","properties":{"k":{"const":1}}},{"type":"object","properties":{"k":{"const":2}}}]}`:   "schema.oneOf: a value could satisfy both", // k may be left out
		`{"oneOf":[{"type":"object","required":["a"]},{"type":"object","properties":{"b":{}},"required":["b"]}]}`:         "schema.oneOf: a value could satisfy both",
		`{"oneOf":[{"$ref":"#/$defs/a"},{"type":"null"}],"$defs":{"a":{"anyOf":[{"type":"null"},{"type":"string"}]}}}`:    "schema.oneOf: a value could satisfy both",
		`{"type":"array","uniqueItems":true}`:                                                         "schema.uniqueItems: is supported where the items",
		`{"type":"array","uniqueItems":true,"items":{"type":"string"}}`:                               "schema.uniqueItems: is supported where the items",
		`{"type":"array","uniqueItems":true,"items":{"enum":[1,2,3,4,5,6,7,8,9,10,11]}}`:              "schema.uniqueItems: is supported where the items",
		`{"type":"array","uniqueItems":true,"items":{"enum":[1e50]}}`:                                 "schema.uniqueItems: is supported where the items",
		`{"type":"array","uniqueItems":1}`:                                                            "schema.uniqueItems: want true or false",
		`{"type":"array","uniqueItems":true,"prefixItems":[{"type":"null"}],"items":{"type":"null"}}`: "schema.uniqueItems: is supported where the items",
		`{"type":"array","uniqueItems":true,"items":{"enum":[1,1.0,2]},"minItems":3}`:                 "no finite value",
		`{"type":"array","prefixItems":{}}`:                                                           "schema.prefixItems: want an array of schemas",
		`{"type":"array","items":[{}]}`:                                                               "schema.items: want a schema",
		`{"type":"number","multipleOf":0.5}`:                                                          "schema.multipleOf: is not supported for numbers",
		`{"type":"number","minimum":"1"}`:                                                             "schema.minimum: want a number",
		`{"type":"number","minimum":1,"exclusiveMaximum":1}`:                                          "no finite value",
		`{"type":"number","minimum":2,"maximum":1}`:                                                   "no finite value",
		`{"type":"number","minimum":0,"exclusiveMaximum":0}`:                                          "no finite value",
		`{"type":"number","exclusiveMinimum":true}`:                                                   "schema.exclusiveMinimum: want a number",
		`{"type":"integer","multipleOf":0}`:                                                           "schema.multipleOf: want a whole number above 0",
		`{"type":"integer","multipleOf":-2}`:                                                          "schema.multipleOf: want a whole number above 0",
		`{"type":"integer","multipleOf":0.5}`:                                                         "schema.multipleOf: want a whole number above 0",
		`{"type":"integer","multipleOf":99991}`:                                                       "too large",
		`{"type":"integer","multipleOf":9007}`:                                                        "too large",
		`{"type":"integer","multipleOf":7,"minimum":8,"maximum":13}`:                                  "no finite value",
		`{"type":"text"}`:              "schema.type: want one of",
		`{"type":[]}`:                  "schema.type",
		`{"type":null}`:                "schema.type",
		`{"type":7}`:                   "schema.type",
		`{"enum":[]}`:                  "schema.enum",
		`{"enum":["a"],"minLength":1}`: "schema.minLength: is not supported beside enum",
		`{"anyOf":{}}`:                 "schema.anyOf",
		`{"anyOf":[]}`:                 "schema.anyOf",
		`{"anyOf":[3]}`:                "schema.anyOf.0: want a schema, got 3",
		`{"allOf":[{},{}]}`:            "schema.allOf: is supported with 1 schema",
		`{"anyOf":[{"type":"null"}],"type":"null"}`:                          "schema.type: is not supported beside anyOf",
		`{"$ref":"#/$defs/x"}`:                                               "there is no #/$defs/x",
		`{"$ref":"http://x/y"}`:                                              "reference within the schema",
		`{"$ref":"#"}`:                                                       "refers to itself",
		`{"anyOf":[{"$ref":"#/anyOf/1"},{"$ref":"#/anyOf/0"}]}`:              "refers to itself",
		`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`: "no finite value",
		`{"type":"integer","minimum":3,"maximum":2}`:                         "no finite value",
		`false`:                        "no finite value",
		`{"type":"string","enum":[1]}`: "no finite value",
		`{"type":"array","minItems":2,"maxItems":1}`: "no finite value",
		`{"type":"array","minItems":-1}`:             "schema.minItems",
		`{"type":"array","minItems":99999999}`:       "schema.minItems: the schema is too large",
		`{"type":"array","maxItems":99999999}`:       "schema.maxItems: the schema is too large",
		`{"type":"string","maxLength":65536}`:        "schema.maxLength: the schema is too large",
		`{"type":"integer","minimum":1e400}`:         "want a number of at most 40 characters",
		`{"items":{"$id":"http://x/y","$ref":"#/$defs/a","$defs":{"a":{"type":"null"}}},"$defs":{"a":{}}}`: "schema.items.$id: is only supported at the root",
		`{"type":"string","minLength":"1"}`:                               "schema.minLength",
		`{"type":"string","pattern":"a(?=b)"}`:                            "schema.pattern: the regular expression",
		`{"type":"string","pattern":"\\bx"}`:                              "schema.pattern: word boundaries",
		`{"type":"string","pattern":"^abc$","maxLength":2}`:               "no finite value",
		`{"type":"string","pattern":"^ab$","minLength":3}`:                "no finite value",
		`{"type":"string","pattern":"^.{1,500}x","maxLength":900}`:        "schema.pattern: the schema is too large",
		`{"type":"string","pattern":"` + strings.Repeat("a", 1025) + `"}`: "at most 1024 bytes",
		`{"type":"string","pattern":"(((a{1000}){1000}))"}`:               "schema.pattern",
		`{"type":"string","pattern":"(.{0,30}x){0,30}$"}`:                 "schema.pattern: the schema is too large",
		`{"type":"string","pattern":3}`:                                   "schema.pattern",
		`{"type":"object","properties":[]}`:                               "schema.properties",
		`{"type":"object","required":"a"}`:                                "schema.required",
		`{"type":"object","required":["a"],"additionalProperties":false}`: `"a" is required, but not allowed`,
		`{"a":1,"a":2}`: "repeated",
		`{"type":`:      "ends inside",
		`{} {}`:         "data after",
		strings.Repeat(`{"items":`, 100) + "true" + strings.Repeat("}", 100): "nested deeper",
		`"` + strings.Repeat("x", MaxSchemaBytes) + `"`:                      "at most 65536 bytes",
		`7`: "want a schema, got 7",
		`{"type":"array","minItems":5000,"items":{"type":"array","minItems":5000,"items":{"enum":["` + strings.Repeat("y", 30000) + `"]}}}`: "too large",
	} {
		if _, err := Compile([]byte(schema)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.100s: want an error with %q, got %v", schema, want, err)
		}
	}
}

// A mask has the tokens whose bytes continue the text, one by one.
func TestMasks(t *testing.T) {
	v := testVocabulary()
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		schema := randomSchema(random, 3)
		g := grammarOf(t, schema)
		m := g.Match()
		for range 60 {
			z := make([]float32, v.size)
			if err := m.Restrict(z, -1); err != nil {
				t.Fatal(err)
			}
			for token := range v.size {
				want := token == eos && m.at.complete
				if text := v.texts[token]; text != nil {
					at := m.at
					for _, b := range text {
						at, _ = g.a.step(at, b)
					}
					want = at != g.a.dead
				}
				if got := z[token] == 0; got != want {
					t.Fatalf("%s: token %d %q: want %t, got %t", schema, token, v.texts[token], want, got)
				}
			}
			if token := pick(random, v, m, z, false); token == eos || m.Accept(token) != nil {
				break
			}
		}
	}
}

// pick chooses one of the tokens that a mask has, or one that brings the text to its end soon.
func pick(random *rand.Rand, v *Vocabulary, m *Match, z []float32, soon bool) int {
	var allowed []int
	for token, x := range z {
		if x == 0 {
			allowed = append(allowed, token)
		}
	}
	if !soon {
		return allowed[random.IntN(len(allowed))]
	}
	best, rank := -1, math.MaxInt
	for _, token := range allowed {
		if token == eos {
			return eos
		}
		if text := v.texts[token]; len(text) == 1 {
			i := strings.IndexByte(`"}]ntf0123456789 {[`, text[0])
			if i < 0 {
				i = 100 + int(text[0])
			}
			if i < rank {
				best, rank = token, i
			}
		}
	}
	return best
}

// generateText chooses tokens at random and, after some, those that end the text soon.
func generateText(t testing.TB, random *rand.Rand, g *Grammar, n int) string {
	t.Helper()
	m, z := g.Match(), make([]float32, g.v.size)
	var text []byte
	for i := 0; !m.Ended(); i++ {
		if i > n+3000 {
			t.Fatalf("no end of %s", text)
		}
		clear(z)
		if err := m.Restrict(z, -1); err != nil {
			t.Fatal(err)
		}
		token := pick(random, g.v, m, z, i >= n)
		if err := m.Accept(token); err != nil {
			t.Fatal(err)
		}
		text = append(text, g.v.texts[token]...)
	}
	return string(text)
}

// randomSchema writes a schema of what is supported.
func randomSchema(r *rand.Rand, depth int) string {
	n := 17
	if depth == 0 {
		n = 10
	}
	switch r.IntN(n) {
	case 0:
		return []string{`{"type":"null"}`, `{"type":"boolean"}`, `{"type":"number"}`, `{"type":["integer","null"]}`, `{"type":"string"}`, `{"type":"string","title":"t"}`}[r.IntN(6)]
	case 1:
		a := r.IntN(3000) - 1500
		return fmt.Sprintf(`{"type":"integer","minimum":%d,"maximum":%d}`, a, a+r.IntN(1<<r.IntN(14)))
	case 2:
		a := r.IntN(4)
		return fmt.Sprintf(`{"type":"string","minLength":%d,"maxLength":%d}`, a, a+r.IntN(6))
	case 3:
		return []string{`{"enum":["red","green","blue \"ß\"",3,null,[1,{"a":-2.5}]]}`, `{"const":{"k":"v"}}`, `{"type":"string","enum":["x",1,"y"]}`}[r.IntN(3)]
	case 4:
		return []string{`{"type":"string","pattern":"^[A-Z][a-z]{1,8}( [A-Z]\\.)?$"}`, `{"type":"string","pattern":"^x?\\d{2}-\\d"}`, `{"type":"string","pattern":"^[a-zß]{1,3}@\\w{1,4}\\.(com|org)$"}`, `{"type":"string","pattern":"^[^a-y\"]*$"}`}[r.IntN(4)]
	case 5:
		return `{}`
	case 6:
		return fmt.Sprintf(`{"type":"string","format":%q}`, slices.Sorted(maps.Keys(formats))[r.IntN(len(formats))])
	case 7:
		a := r.IntN(300) - 150
		return fmt.Sprintf(`{"type":"integer","multipleOf":%d,"minimum":%d,"exclusiveMaximum":%d}`, 1+r.IntN(60), a, a+61+r.IntN(1<<r.IntN(14)))
	case 8:
		a, scale := r.IntN(2000)-1000, []float64{1, 10, 1000}[r.IntN(3)]
		low, high := []string{"minimum", "exclusiveMinimum"}[r.IntN(2)], []string{"maximum", "exclusiveMaximum"}[r.IntN(2)]
		return fmt.Sprintf(`{"type":"number",%q:%v,%q:%v}`, low, float64(a)/scale, high, float64(a+1+r.IntN(500))/scale)
	case 9:
		return []string{`{"type":"string","pattern":"[0-9]","minLength":2,"maxLength":4}`, `{"type":"string","pattern":"^a[b-d]*","minLength":3}`, `{"type":"string","pattern":"ß$","maxLength":2}`}[r.IntN(3)]
	case 10:
		return fmt.Sprintf(`{"type":"array","prefixItems":[%s,%s],"items":%s,"maxItems":%d}`, randomSchema(r, 0), randomSchema(r, 0), randomSchema(r, depth-1), 1+r.IntN(4))
	case 11:
		return []string{`{"type":"array","items":{"enum":["x","y",1,1.0,null]},"uniqueItems":true,"minItems":2}`, `{"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"v":` + randomSchema(r, 0) + `},"required":["k"]},{"type":"object","properties":{"k":{"enum":["b",1]}},"required":["k"]},{"type":"null"}]}`}[r.IntN(2)]
	case 12:
		a := r.IntN(3)
		return fmt.Sprintf(`{"type":"array","items":%s,"minItems":%d,"maxItems":%d}`, randomSchema(r, depth-1), a, a+r.IntN(3))
	case 13:
		return fmt.Sprintf(`{"type":"array","items":%s}`, randomSchema(r, depth-1))
	case 14:
		return fmt.Sprintf(`{"anyOf":[%s,%s]}`, randomSchema(r, depth-1), randomSchema(r, depth-1))
	}
	var properties []string
	var required []string
	for i, name := range []string{"a", "ab", "b c", "ü\"", "n"}[:r.IntN(6)] {
		properties = append(properties, fmt.Sprintf("%q:%s", name, randomSchema(r, depth-1)))
		if i%2 == r.IntN(2) {
			required = append(required, fmt.Sprintf("%q", name))
		}
	}
	more := []string{"", `,"additionalProperties":false`, `,"additionalProperties":true`, `,"additionalProperties":` + randomSchema(r, 0)}[r.IntN(4)]
	return fmt.Sprintf(`{"type":"object","properties":{%s},"required":[%s]%s}`, strings.Join(properties, ","), strings.Join(required, ","), more)
}

// Whatever tokens are chosen of those that are allowed, the text is JSON that an independent
// validator finds valid.
func TestRandomTextsAreValid(t *testing.T) {
	schemas := []string{`{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}}}`}
	for seed := range uint64(150) {
		schemas = append(schemas, randomSchema(rand.New(rand.NewPCG(seed, 2)), 3))
	}
	for i, schema := range schemas {
		v, err := testutil.JSONSchema(schema)
		if err != nil {
			t.Fatalf("%s: %v", schema, err)
		}
		g := grammarOf(t, schema)
		random := rand.New(rand.NewPCG(uint64(i), 3))
		for range 8 {
			text := generateText(t, random, g, random.IntN(120))
			if err := testutil.CheckJSON(v, text); err != nil {
				t.Fatalf("%s: %s: %v", schema, text, err)
			}
			var out any
			if err := json.Unmarshal([]byte(text), &out); err != nil {
				t.Fatalf("%s: %s: %v", schema, text, err)
			}
		}
	}
}

// What is kept is forgotten now and then, and the masks stay the same.
func TestForgetting(t *testing.T) {
	g := grammarOf(t, `{"type":"array","items":{"type":"string","maxLength":1500},"maxItems":40}`)
	m, z, again := g.Match(), make([]float32, g.v.size), make([]float32, g.v.size)
	other := m.g.Match()
	text := `["` + strings.Repeat("a", 1400) + `","` + strings.Repeat("b", 1500) + `"`
	for i := range len(text) {
		clear(z)
		if err := m.Restrict(z, -1); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			g.a.forget()
			m.at.mask = nil
			clear(again)
			if err := m.Restrict(again, -1); err != nil || !slices.Equal(z, again) {
				t.Fatalf("byte %d: the mask has changed: %v", i, err)
			}
		}
		if token := 2 + int(text[i]); z[token] != 0 {
			t.Fatalf("byte %d %q is not allowed", i, text[i])
		} else if err := m.Accept(token); err != nil {
			t.Fatal(err)
		}
	}
	if len(g.a.kept) > maxConfigurations {
		t.Errorf("want at most %d kept, got %d", maxConfigurations, len(g.a.kept))
	}
	if err := other.Restrict(z, -1); err != nil {
		t.Error(err)
	}
}

// Too many alternatives that begin alike are an error, and no token an error of its own.
func TestTooComplex(t *testing.T) {
	s, err := Compile([]byte(`{"$ref":"#/$defs/r","$defs":{"r":{"anyOf":[{"type":"array","items":{"$ref":"#/$defs/r"}},{"type":"array","items":{"$ref":"#/$defs/r"},"maxItems":3},{"type":"array","items":{"$ref":"#/$defs/r"},"maxItems":5},{"type":"array","items":{"$ref":"#/$defs/r"},"maxItems":7}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGrammar(s, testVocabulary())
	if err != nil {
		t.Fatal(err)
	}
	m := g.Match()
	z := make([]float32, g.v.size)
	for range 40 {
		if err = m.Restrict(z, -1); err != nil {
			break
		}
		if err = m.Accept(2 + '['); err != nil {
			break
		}
	}
	if err != ErrTooComplex {
		t.Errorf("want %v, got %v", ErrTooComplex, err)
	}
	only := NewVocabulary(2, func(i int) []byte { return []byte("ab"[i : i+1]) }, nil)
	if _, err := NewGrammar(s, only); err != ErrNoToken {
		t.Errorf("want %v, got %v", ErrNoToken, err)
	}
}

// hardSchema has texts whose configurations have hundreds of positions, each one different from
// the one before.
const hardSchema = `{"type":"string","pattern":"[ab]*a[ab]{200}$"}`

// Prepare computes a mask piece by piece, with a limited amount of work in each, and in the end
// it is what Restrict computes as a whole; sequences at the same place share the work.
func TestPrepare(t *testing.T) {
	for _, limit := range []int{1, 1000, 100000} {
		g, whole := grammarOf(t, hardSchema), grammarOf(t, hardSchema).Match()
		m, same := g.Match(), g.Match()
		z, want := make([]float32, g.v.size), make([]float32, g.v.size)
		pieces := 0
		for _, b := range []byte(`"` + strings.Repeat("ab", 30)) {
			for done := false; !done; pieces++ {
				var work int
				var err error
				if done, work, err = m.Prepare(limit); err != nil {
					t.Fatal(err)
				}
				if work > limit+computedWork*5*maxPositions+1 || work == 0 && !done {
					t.Fatalf("a piece of %d: %d work", limit, work)
				}
			}
			if done, work, err := same.Prepare(0); !done || work != 0 || err != nil {
				t.Fatalf("want the mask of the other sequence, got %t, %d work, %v", done, work, err)
			}
			clear(z)
			clear(want)
			if err := m.Restrict(z, -1); err != nil {
				t.Fatal(err)
			}
			if err := whole.Restrict(want, -1); err != nil || !slices.Equal(z, want) {
				t.Fatalf("pieces of %d: the mask differs: %v", limit, err)
			}
			for _, m := range []*Match{m, same, whole} {
				if err := m.Accept(2 + int(b)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if limit == 1000 && pieces < 1000 {
			t.Errorf("want a schema that is hard to follow, got %d pieces", pieces)
		}
		if len(g.a.kept) > maxConfigurations || g.a.size+len(g.a.frames) > maxKeptSize+5*maxPositions {
			t.Errorf("want a limited memory, got %d configurations of %d positions, %d frames", len(g.a.kept), g.a.size, len(g.a.frames))
		}
	}
}

// A mask that takes too much work is an error, in pieces too.
func TestMaskTooComplex(t *testing.T) {
	texts := make([][]byte, 1<<14)
	for i := range texts { // all of them go on with the text
		texts[i] = fmt.Appendf(nil, "%014b", i)
	}
	s, err := Compile([]byte(`{"type":"string","pattern":"^(0?1?){200}$"}`))
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGrammar(s, NewVocabulary(len(texts)+1, func(i int) []byte {
		if i == len(texts) {
			return []byte(`"`)
		}
		return texts[i]
	}, nil))
	if err != nil {
		t.Fatal(err)
	}
	m := g.Match()
	if err := m.Accept(len(texts)); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		done := false
		for err = nil; !done && err == nil; {
			done, _, err = m.Prepare(1 << 20)
		}
		if err == nil {
			err = m.Accept(0)
		}
		if err != nil {
			break
		}
	}
	if again := m.Restrict(make([]float32, len(texts)+1), -1); err != ErrTooComplex || again != ErrTooComplex {
		t.Errorf("want %v, got %v and %v", ErrTooComplex, err, again)
	}
}

// An enum may have more values that begin alike than a text may have places, and the same value twice.
func TestLongEnum(t *testing.T) {
	var values []string
	for i := range 2 * maxPositions {
		values = append(values, fmt.Sprintf(`"value %d"`, i), fmt.Sprint(i%700))
	}
	schema := `{"enum":[` + strings.Join(values, ",") + `]}`
	for text, want := range map[string]bool{`"value 7"`: true, `"value 1023"`: true, "69": true, "699": true, `"value 1024"`: false, "700": false, `"value "`: false, `"value 1"`: true} {
		if got := accepts(t, schema, text); got != want {
			t.Errorf("%s: want %t, got %t", text, want, got)
		}
	}
}

// FuzzCompile: any bytes are a schema or an error, and the texts of a schema that the validator
// knows are valid.
func FuzzCompile(f *testing.F) {
	for seed := range uint64(8) {
		f.Add([]byte(randomSchema(rand.New(rand.NewPCG(seed, 4)), 2)), seed)
	}
	f.Add([]byte(`{"$ref":"#/$defs/a","$defs":{"a":{"type":"array","items":{"$ref":"#"}}}}`), uint64(1))
	vocabulary := testVocabulary()
	f.Fuzz(func(t *testing.T, schema []byte, seed uint64) {
		if len(schema) > 2000 {
			return
		}
		s, err := Compile(schema)
		if err != nil {
			return
		}
		g, err := NewGrammar(s, vocabulary)
		if err != nil {
			return
		}
		random := rand.New(rand.NewPCG(seed, 0))
		m, z := g.Match(), make([]float32, vocabulary.size)
		var text []byte
		for i := 0; !m.Ended(); i++ {
			clear(z)
			if i > 2000 || m.Restrict(z, -1) != nil {
				return
			}
			token := pick(random, vocabulary, m, z, i > 50)
			if m.Accept(token) != nil {
				return
			}
			text = append(text, vocabulary.texts[token]...)
		}
		v, err := testutil.JSONSchema(string(schema))
		if err != nil {
			return
		}
		if err := testutil.CheckJSON(v, string(text)); err != nil {
			t.Fatalf("%s: %s: %v", schema, text, err)
		}
	})
}
