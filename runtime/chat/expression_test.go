package chat

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Every expression and statement gives what it gives in transformers, or an error;
// testdata/expressions.py makes the texts.
func TestExpressions(t *testing.T) {
	var golden struct {
		Variables map[string]json.RawMessage
		Cases     []struct {
			Source string
			Text   *string
		}
	}
	data, err := os.ReadFile("testdata/expressions.json")
	if err == nil {
		err = json.Unmarshal(data, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, c := range golden.Cases {
		variables := map[string]any{}
		for name, v := range golden.Variables {
			variables[name] = v
		}
		var got string
		p, err := compile(c.Source)
		if err == nil {
			got, err = p.run(variables, time.Time{})
		}
		switch {
		case c.Text == nil && err == nil:
			t.Errorf("%s: want an error, got %q", c.Source, got)
		case c.Text != nil && err == nil && got != *c.Text:
			t.Errorf("%s:\nwant %q\ngot  %q", c.Source, *c.Text, got)
		case c.Text != nil && err != nil:
			refused++
			t.Logf("%s: refused: %v", c.Source, err)
		}
	}
	if len(golden.Cases) < 300 || refused > len(golden.Cases)/10 {
		t.Errorf("%d of %d cases are refused", refused, len(golden.Cases))
	}
}

// A part of a template that is not supported fails where it is run.
func TestUnsupportedParts(t *testing.T) {
	for _, part := range []string{"{{ x | groupby('a') }}", "{{ x.append(1) }}", "{{ 1 < 2 < 3 }}", "{{ x | sort(by='a') }}"} {
		template, err := Parse("x", "{% if tools %}"+part+"{% endif %}ok", nil)
		if err != nil {
			t.Fatal(err)
		}
		hello := []Message{{Role: "user", Content: "Hi"}}
		if got, err := template.Render(hello, false); err != nil || got != "ok" {
			t.Errorf("%s: got %q, %v", part, got, err)
		}
		if got, err := template.RenderWith(hello, Options{Tools: []any{"t"}}); err == nil {
			t.Errorf("%s: want an error, got %q", part, got)
		}
	}
}

// A template that allocates without bound is stopped before it does.
func TestMemory(t *testing.T) {
	for name, source := range map[string]string{
		"repeated":             "{% set n = 1000000 %}{% set n = n * n %}{{ 'a' * n }}",
		"repeated twice":       "{{ 'a' * 1048576 * 1048576 }}",
		"list repeated":        "{% set n = 1000000 %}{% set n = n * n %}{{ [1] * n }}",
		"replaced":             "{% set a = 'a' * 10000000 %}{{ a | replace('a', a) }}",
		"replaced by a method": "{% set a = 'a' * 10000000 %}{{ a.replace('a', a) }}",
		"joined":               "{% set a = 'a' * 10000000 %}{{ [1] * 100000 | join(a) }}{{ ([1] * 100000) | join(a) }}",
		"indented":             "{{ 'a\n' * 1000000 | indent(1000000) }}{{ ('a\n' * 1000000) | indent(1000000) }}",
		"indented JSON":        "{{ [[1]] | tojson(indent=1000000000) }}",
		"formatted":            "{% set a = '{0}' * 1000000 %}{{ a.format(a) }}",
		"texts of a list":      "{% set a = 'a' * 10000000 %}{{ [a,a,a,a,a,a,a,a,a,a,a,a] ~ '' }}",
		"many texts":           "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = ns.l + [('a' * 1000000) ~ i] %}{% endfor %}",
		"many variables":       strings.Repeat("{% set a = 'a' * 10000000 %}", 1000),
		"doubled lists":        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
		"doubled mappings":     "{% set ns = namespace(l={}) %}{% for i in range(60) %}{% set ns.l = {'a': ns.l, 'b': ns.l} %}{% endfor %}{{ ns.l | tojson }}",
		"deep":                 "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
		"holds itself":         "{% set ns = namespace(l=[]) %}{% set ns.l = ns %}{{ ns }}",
		"equal to itself":      "{% set ns = namespace() %}{% set ns.l = [ns] %}{{ ns == ns }}",
		"texts of loops":       "{% for i in range(100000) %}" + strings.Repeat("a", 100000) + "{% endfor %}",
		"letters":              "{% for c in 'a' * 10000000 %}{% endfor %}",
		"letters of a list":    "{{ ('a' * 10000000) | list }}",
		"long number":          "{{ 10 ** 1000000000 }}{{ 99999999999999999999999 }}",
		"from JSON":            "{{ ('[' * 10000000) | fromjson }}",
		"slices":               "{% set a = 'é' * 5000000 %}{% for i in range(1000) %}{% set x = a[::-1] %}{% endfor %}",
	} {
		t.Run(name, func(t *testing.T) {
			template, err := Parse("x", source, nil)
			if err == nil {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err = template.Render([]Message{{Role: "user", Content: "Hi"}}, true)
				runtime.ReadMemStats(&after)
				if made := after.TotalAlloc - before.TotalAlloc; made > 3*maxAllocated {
					t.Errorf("the template allocated %d bytes", made)
				}
			}
			if err == nil || len(err.Error()) > 300 || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "runtime error") {
				t.Errorf("want a short error, got %v", err)
			}
		})
	}
}

// Compiling a tenth of the largest source takes bounded memory too.
func TestMemoryOfCompiling(t *testing.T) {
	for name, part := range map[string]string{
		"operators": "{{ " + strings.Repeat("a~", 199) + "a }}", "brackets": "{{ " + strings.Repeat("[", 90) + "1" + strings.Repeat("]", 90) + " }}", "lists": "{{ [" + strings.Repeat("1,", 10000) + "] }}",
		"attributes": "{{ a" + strings.Repeat(".a", 199) + " }}", "filters": "{{ a" + strings.Repeat("|e", 199) + " }}", "loops": "{% for i in a %}{% set a = 1 %}{% endfor %}", "macros": "{% macro f(a=1) %}{% endmacro %}", "texts": "{#",
	} {
		source := strings.Repeat(part, max(1, maxSource/10/len(part)))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse("x", source, nil)
		runtime.ReadMemStats(&after)
		if made := after.TotalAlloc - before.TotalAlloc; made > maxAllocated/2 {
			t.Errorf("%s: compiling allocated %d bytes, %v", name, made, err)
		}
	}
}
