package testutil

import (
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// JSONSchema compiles a schema by an implementation that is independent of this repository. It
// checks formats, too.
func JSONSchema(schema string) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("schema.json")
}

// CheckJSON returns an error where a text is no JSON or no value of a schema.
func CheckJSON(s *jsonschema.Schema, text string) error {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}
