"""Evaluates Jinja expressions and statements as transformers does.

    python expressions.py > expressions.json      # transformers 4.57.6, jinja2 3.1.6

Each case is rendered with VARIABLES. text is null where rendering fails. Go's test holds mop to
the texts: it may refuse what it does not support, but it must not render anything else.
"""
import json
import random
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

VARIABLES = {
    "n": 7, "m": -3, "x": 2.5, "one": 1.0, "big": 1e20, "small": 1e-7, "yes": True, "no": False, "nothing": None, "empty": "", "s": " Hello World ", "w": "a,b,c,a",
    "lines": "one\ntwo\n\nthree\n", "quote": "it's \"so\"", "one_quote": "it's", "control": "a\tb\nc\u0001\u00e9\u2028\U0001f999</x>&",
    "l": [3, 1, 2], "texts": ["b", "a", "C"], "nested": [[1, "x"], [2, "y"]], "d": {"z": 1, "a": {"k": "v", "q": [1.0, None, True]}, "items": 5},
    "people": [{"name": "Bo", "age": 3}, {"name": "Al", "age": 1, "tool": "t"}, {"name": "Cy", "age": 3, "tool": ""}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d <&>", "parameters": {"type": "object", "properties": {"b": {"type": "string"}, "a": {}}, "required": []}}}],
}
EXPRESSIONS = r"""
n + 1 | n - 1 | n * 2 | n / 2 | n // 2 | m // 2 | n % 3 | m % 5 | n ** 2 | -n | +n | -m | n + x | x * 2 | one | one + 1 | big | small | big * 10 | 1.5e3 | 1_000 | x % 2 | m % 2.5
n + yes | yes + yes | n == 7.0 | n == '7' | n != 7 | n < 8 | n >= 8 | 'a' < 'b' | 'b' < 'a' | '10' < '9' | 'a' == 'a' | nothing == none | l == [3, 1, 2] | d == d | l == nested | 1 < 2 < 3
'a' + 'b' | 'a' + 1 | 1 + 'a' | 'a' + nothing | 'a' + missing | missing + 'a' | 'a' ~ 1 ~ none ~ x ~ l ~ missing | 'a' ~ 1 + 2 | 1 + 2 ~ 'a' | 'ab' * 3 | 3 * 'ab' | 'ab' * -1 | [1, 2] * 2 | l + [9] | l + 'a' | '%s' % 'a' | '%d items' % n
not yes | not no and yes | no or 'x' | yes and 'x' | '' or nothing or 'z' | n if yes else m | n if no | (n if no) is defined | 'a' if no else 'b' if no else 'c' | not n == 7 | not n in l | n not in l | 3 in l | 'Hello' in s | 'z' in d | 'q' not in d | [1, 'x'] in nested
s | s.strip() | s.lower() | s.upper() | s.title() | s.capitalize() | s.lstrip() | s.rstrip() | s.strip(' H') | w.split(',') | w.split(',', 1) | w.split(',')[-1] | s.split() | w.split(',', maxsplit=2) | s.split('') | w.replace('a', 'xx') | w.replace('a', 'xx', 1) | w.startswith('a') | w.endswith('a') | w.count('a') | w.find('c') | w.find('q') | '{} {}'.format(1, 'b') | '{0}{1}{0}'.format('a', 'b') | '{{}}'.format() | '{'.format(1) | '{:>5}'.format(1) | w.index('c')
s[1] | s[-2] | s[1:4] | s[:3] | s[-3:] | s[::-1] | s[::2] | l[0] | l[-1] | l[5] | l[1:] | l[:-1] | l[::-1] | l[1:2] | l[-2:5] | l[5:] | l[-9:2] | l[2:0:-1] | l[9::-2] | l[:-4:-1] | l[::2] | s[9:2:-3] | s[99] | n[1:] | missing[1:] | l[x:] | l.0 | d['z'] | d.z | d['a']['k'] | d.a.k | d['missing'] | d.missing | d.missing.more | d['a'].q[0] | nested[1][1] | l[1:][0] | texts[n - 6] | l[::0] | s[::0]
[] | [1, 'a', none, true, 2.0] | (1, 2)[1] | (1,)|length | ()|length | (1) | {} | {'a': 1, 'b': [1]} | {'a': {'b': 'c'}} | [1, 2,] | [[1], [[2]]] | quote | [quote] | [one_quote] | [control] | d | people
n is defined | missing is defined | missing is undefined | missing is not defined | nothing is none | nothing is not none | s is string | l is string | d is mapping | l is mapping | l is iterable | s is iterable | n is iterable | l is sequence | n is number | yes is boolean | n is integer | x is float | n is odd | n is even | n is divisibleby 7 | n is divisibleby(2) | yes is true | no is false | n is true | n is equalto 7 | n is eq(7) | n is gt 3 | n is in l | 3 is in l | n is in [7] | none is none | not missing is defined | n + 1 is number | 'a' ~ n is string | n == 7 is true | s is lower | yes is sameas true
s|trim | s|trim|length | s|length | l|length | d|length | missing|length | nothing|length | w|replace('a', 'x') | w|replace('a', 'x', 1) | s|upper | s|lower | s|title | s|capitalize | nothing|upper | n|string | one|string | l|string | d|string | l|first | l|last | s|first | empty|first | l|sum | l|max | l|min | texts|min | l|sort | l|sort(reverse=true) | texts|sort | people|sort(attribute='age') | l|reverse|list | s|reverse | s|list | d|list | l|list | texts|join | texts|join(', ') | l|join('-') | people|join(',', attribute='name') | w|join('.') | missing|join | [none, true, 1.0]|join(' ') | -1|abs | (-1)|abs | m|abs | x|round | x|round(1) | 3.14159|round(2) | '12'|int | '1.5'|float | 'a'|int | x|int | n|float | w|wordcount | [1, 2, 1]|unique|list | texts|map('upper')|list | people|map(attribute='name')|list | people|map(attribute='name')|join(',') | people|map(attribute='tool', default='-')|list
missing|default('x') | nothing|default('x') | nothing|default('x', true) | empty|d('y', true) | empty|default('y', boolean=true) | n|default(1) | people|selectattr('tool')|list|length | people|selectattr('tool', 'defined')|map(attribute='name')|join | people|rejectattr('tool', 'defined')|map(attribute='name')|join | people|selectattr('age', 'equalto', 3)|list|length | people|selectattr('age', 'gt', 1)|list|length | people|rejectattr('age', 'equalto', 3)|map(attribute='name')|first | l|select('odd')|list | l|reject('odd')|list | l|select|list | people|groupby('age')|list | (d|items|list)[1][0] | (d|dictsort)[0][0] | l|batch(2)|list | l|slice(2)|list | s|center(20) | s|truncate(5) | '<&>'|e | '<&>'|escape | lines|indent | lines|indent(2) | lines|indent(2, true) | lines|indent(width=3, first=true) | lines|indent(2, blank=true) | l|random | s|nosuch | l|tojson | x|tojson | s|safe
d|tojson | control|tojson | control|tojson(ensure_ascii=true) | tools|tojson | tools|tojson(indent=2) | d|tojson(indent=4) | d|tojson(sort_keys=true) | [1, [], {}]|tojson(indent=2) | [1.0, 1e20, 1e-7, true, none]|tojson | l|tojson(separators=(',', ':')) | missing|tojson | tools[0].function|tojson | tools|tojson(2)
range(3)|list | range(1, 4)|list | range(5, 0, -2)|list | namespace(a=1).a | dict(a=1, b='x').b | dict(a=1)|tojson | joiner(',')() | cycler('a', 'b').next() | lipsum() | raise_exception('no') | d.get('z') | d.get('q') | d.get('q', 5) | d.keys()|list | d.values()|list|length | people[0].get('name') | l.append(4) | l.index(1) | texts.sort() | d.update({'b': 1}) | d.pop('z')
'a' 'b' | "it's" | 'it\'s' | 'a\nb' | 'a\\nb' | '\x41\u00e9' | "\"" | '}}' | '%}' | '{{' | '{%' | '#}' | 'a' ~ '}}' ~ 'b' | {'a': {'b': {}}}|tojson | true | True | none | None | null | nothing
"""
STATEMENTS = [
    "{% for p in people %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }} {{ p.name }};{% endfor %}",
    "{% for p in people if p.tool is defined %}{{ loop.index }}{{ p.name }}{{ loop.length }};{% else %}none{% endfor %}", "{% for p in [] %}a{% else %}b{% endfor %}", "{% for p in missing %}a{% else %}b{% endfor %}",
    "{% for p in nothing %}a{% endfor %}", "{% for p in n %}a{% endfor %}", "{% for c in 'héy' %}{{ c }}.{% endfor %}", "{% for k in d %}{{ k }};{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|items %}{{ k }};{% endfor %}", "{% for a, b in nested %}{{ a }}{{ b }};{% endfor %}", "{% for a, b in l %}{{ a }}{% endfor %}", "{% for (a, b) in nested %}{{ a }}{{ b }};{% endfor %}",
    "{% for p in people %}{% if loop.first %}{% continue %}{% endif %}{{ p.name }}{% break %}{% endfor %}", "{% for p in people %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for p in people %}{{ loop.previtem.name if loop.previtem is defined else '-' }}{% endfor %}",
    "{% for p in people[1:] %}{{ p.name }}{% endfor %}", "{% for p in people|reverse %}{{ p.name }}{% endfor %}", "{% for p in (people if yes else []) %}{{ p.name }}{% endfor %}", "{% for i in range(3) %}{% for j in range(i) %}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% if n == 7 and s is string %}a{% elif n %}b{% else %}c{% endif %}", "{% if missing %}a{% elif nothing is none %}b{% endif %}", "{% if not missing is defined %}a{% endif %}", "{% if d %}a{% endif %}{% if [] %}b{% endif %}",
    "{% set a = 1 %}{{ a }}", "{% set a = 'x' ~ n %}{{ a }}", "{% set a %}x{{ n }}{% endset %}{{ a|length }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set a | upper %}x{% endset %}{{ a }}",
    "{% set ns = namespace(a=1, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}", "{% set a = 1 %}{% for i in l %}{% set a = i %}{% endfor %}{{ a }}", "{% for i in l %}{% set a = i %}{% endfor %}{{ a is defined }}",
    "{% macro f(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(1, c='y') }}{{ f(a=5) }}{{ f(1)|length }}", "{% macro f(a, b=[1, 2]) %}{{ b }}{% endmacro %}{{ f(1) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f() }}{{ f(1) }}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}x{{ n }}{% endcall %}", "{% macro f() %}{{ caller(1) }}{% endmacro %}{% call(a) f() %}x{{ a }}{% endcall %}", "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% filter upper %}abc{{ n }}{% endfilter %}", "{% filter replace('a', 'b') %}abc{% endfilter %}", "{% generation %}a{% endgeneration %}", "{% raw %}{{ x }}{% endraw %}", "{# c #}a", "{% do l.append(1) %}", "{% with a = 1 %}{{ a }}{% endwith %}",
    "a\n{% if yes %}\n  b\n{% endif %}\nc\n", "  {%- if yes -%}  b  {%- endif -%}  c", "{{ n }}\n{{ n }}\n", "{% for i in l %}\n {{ i }}\n{% endfor %}", "{{- ' x ' -}}  y", "{% for i in l recursive %}{{ i }}{% endfor %}",
    "{% set t = none %}{% if tools is defined and tools is not none %}{% set t = tools %}{% endif %}{{ t|length }}", "{{ people[0]['name'] + ': ' + people[0].age|string }}", "{{ (people|selectattr('name', 'equalto', 'Al')|first).age }}",
    "{%- for tool in tools %}{%- set f = tool.function %}{{ f.name }}({% for k, v in f.parameters.properties.items() %}{{ k }}:{{ v.type }}{% if not loop.last %}, {% endif %}{% endfor %}){% endfor %}",
]


def render(source):
    random.seed(1)  # some of the filters are random
    try:
        return _compile_jinja_template(source).render(**json.loads(json.dumps(VARIABLES)))
    except Exception:
        return None


def split(line):
    """Cuts a line at bars that have a space on both sides; a filter's bar has none."""
    return [e for e in line.split(" | ") if e]


sources = ["{{ " + e + " }}" for line in EXPRESSIONS.strip().splitlines() for e in split(line)] + STATEMENTS
json.dump({"variables": VARIABLES, "cases": [{"source": s, "text": render(s)} for s in sources]}, sys.stdout, indent=1)
print()
