package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// PlainJSON says what is wrong with a JSON value in words that do not name Go's types. An
// error of another kind is returned as it is.
func PlainJSON(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	want := "another type"
	switch t := wrong.Type; {
	case t == nil:
	case strings.Contains(t.String(), "RawMessage"):
		want = "a value"
	default:
		want = kindName(t.Kind().String())
	}
	got, value, _ := strings.Cut(wrong.Value, " ")
	if value != "" { // of a number
		return fmt.Errorf("%s: want %s, got %s", wrong.Field, want, value)
	}
	if got == "bool" {
		got = "true or false"
	}
	if wrong.Field == "" {
		return fmt.Errorf("want %s, got %s", want, article(got))
	}
	return fmt.Errorf("%s: want %s, got %s", wrong.Field, want, article(got))
}

// kindName is JSON's name of what a kind of Go values is read from.
func kindName(kind string) string {
	switch {
	case kind == "string":
		return "a string"
	case kind == "bool":
		return "true or false"
	case kind == "slice" || kind == "array":
		return "a list"
	case kind == "struct" || kind == "map":
		return "an object"
	case strings.HasPrefix(kind, "int") || strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	}
	return "another type"
}

func article(what string) string {
	switch what {
	case "string", "number":
		return "a " + what
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	return what
}
