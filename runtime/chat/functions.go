package chat

// Functions that a rewritten expression calls; budget.functions implements them. A template
// cannot use their names by chance.
const (
	addName        = "mop__add"
	boundName      = "mop__bound"
	compareName    = "mop__compare"
	definedName    = "mop__defined"
	divideName     = "mop__divide"
	firstName      = "mop__first"
	floorName      = "mop__floor"
	formatName     = "mop__format"
	getName        = "mop__get"
	indentName     = "mop__indent"
	itemsName      = "mop__items"
	joinName       = "mop__join"
	jsonName       = "mop__json"
	keepName       = "mop__keep"
	keyName        = "mop__key"
	keysName       = "mop__keys"
	lastName       = "mop__last"
	lengthName     = "mop__length"
	listName       = "mop__list"
	maxName        = "mop__max"
	minName        = "mop__min"
	multiplyName   = "mop__multiply"
	pairsName      = "mop__pairs"
	powerName      = "mop__power"
	remainderName  = "mop__remainder"
	replaceName    = "mop__replace"
	roundName      = "mop__round"
	reverseName    = "mop__reverse"
	sliceName      = "mop__slice"
	sortName       = "mop__sort"
	splitName      = "mop__split"
	subtractName   = "mop__subtract"
	textName       = "mop__text"
	titleName      = "mop__title"
	valuesName     = "mop__values"
	undefinedValue = "mop__undefined" // a name that nothing defines
	refuseName     = "mop__refuse"    // fails where it is run: templates have parts that no conversation reaches
)

// methods are those of texts and mappings, by the function that a call becomes, with the
// object as the first argument. Empty: the call stands as it is, and makes no new text or
// list. Methods that change a value fail in transformers.
var methods = map[string]string{
	"replace": replaceName, "format": formatName, "split": splitName, "title": titleName, "get": getName, "keys": keysName, "values": valuesName,
	"strip": "", "lstrip": "", "rstrip": "", "startswith": "", "endswith": "", "count": "", "find": "",
}

// changing are the methods that change a list or a mapping.
var changing = []string{"append", "insert", "extend", "pop", "remove", "clear", "sort", "reverse", "update", "setdefault", "popitem"}

// filter says what a filter of the library does with its value and which arguments it uses.
type filter struct {
	function  string   // takes the filter's place
	onText    bool     // the value is first written as Python's str does
	deep      bool     // it visits the parts of its value
	shares    bool     // it makes no new text or list
	arguments int      // by position, at most
	names     []string // of arguments
}

var filters = map[string]filter{
	"tojson": {function: jsonName, names: []string{"indent", "separators", "ensure_ascii", "sort_keys"}},
	"join":   {function: joinName, arguments: 2, names: []string{"d", "attribute"}}, "replace": {function: replaceName, arguments: 3, names: []string{"count"}},
	"indent": {function: indentName, arguments: 2, names: []string{"width", "first"}}, "string": {function: textName}, "list": {function: listName},
	"first": {function: firstName}, "last": {function: lastName}, "length": {function: lengthName}, "count": {function: lengthName}, "max": {function: maxName}, "min": {function: minName},
	"sort": {function: sortName, names: []string{"reverse", "attribute", "case_sensitive"}}, "round": {function: roundName, arguments: 1, names: []string{"precision"}},
	"trim": {onText: true, shares: true, arguments: 1}, "lower": {onText: true}, "upper": {onText: true}, "title": {onText: true}, "capitalize": {onText: true},
	"escape": {onText: true}, "e": {onText: true}, "safe": {shares: true}, "abs": {shares: true},
	"default": {shares: true, arguments: 2, names: []string{"boolean"}}, "d": {shares: true, arguments: 2, names: []string{"boolean"}},
	"int": {shares: true}, "float": {shares: true}, "sum": {shares: true},
	"items": {}, "from_json": {}, "fromjson": {}, "reverse": {function: reverseName}, "unique": {deep: true},
	"map": {names: []string{"attribute", "default"}}, "dictsort": {names: []string{"reverse"}}, "batch": {arguments: 1},
	"select": {deep: true, arguments: 2}, "reject": {deep: true, arguments: 2}, "selectattr": {deep: true, arguments: 3}, "rejectattr": {deep: true, arguments: 3},
}
