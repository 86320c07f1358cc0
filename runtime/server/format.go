package server

import (
	"container/list"
	"sync"

	"mop/runtime/constrain"
)

// maxGrammars is how many grammars a model keeps for later requests.
const maxGrammars = 8

// grammars are those of a model that were used last.
type grammars struct {
	mu         sync.Mutex
	vocabulary *constrain.Vocabulary
	bySchema   map[string]*list.Element
	recent     list.List // of *namedGrammar, the one that was used last in front
}

type namedGrammar struct {
	schema  string
	grammar *constrain.Grammar
}

// anyObject is the schema of a text of the type json_object.
const anyObject = `{"type":"object"}`

// grammar gives the grammar of a schema.
func (m *Model) grammar(schema string) (*constrain.Grammar, error) {
	g := &m.grammars
	g.mu.Lock()
	if e := g.bySchema[schema]; e != nil {
		g.recent.MoveToFront(e)
		g.mu.Unlock()
		return e.Value.(*namedGrammar).grammar, nil
	}
	if g.vocabulary == nil {
		g.vocabulary = constrain.NewVocabulary(m.config.VocabSize, m.Tokenizer.Text, m.config.EOS)
	}
	vocabulary := g.vocabulary
	g.mu.Unlock()
	compiled, err := constrain.Compile([]byte(schema))
	if err != nil {
		return nil, err
	}
	grammar, err := constrain.NewGrammar(compiled, vocabulary)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bySchema == nil {
		g.bySchema = map[string]*list.Element{}
	}
	if g.bySchema[schema] == nil {
		g.bySchema[schema] = g.recent.PushFront(&namedGrammar{schema, grammar})
	}
	for g.recent.Len() > maxGrammars {
		last := g.recent.Remove(g.recent.Back()).(*namedGrammar)
		delete(g.bySchema, last.schema)
	}
	return grammar, nil
}

// readResponseFormat reads the form that a text must have.
func (g *generation) readResponseFormat(f *fields) {
	g.format = "response_format"
	in := f.object(g.format)
	if in == nil {
		return
	}
	schema := in
	if kind := g.readFormatType(in); kind == "json_schema" {
		if schema = in.object("json_schema"); schema == nil {
			in.fail("json_schema", "is required")
		} else {
			g.readSchema(schema)
			in.close(schema)
		}
	}
	f.close(in)
}

// readTextFormat reads the member text of a response.
func (g *generation) readTextFormat(f *fields) {
	g.format = "text.format"
	text := f.object("text")
	if text == nil {
		return
	}
	text.neutral("verbosity", `"medium"`)
	if in := text.object("format"); in != nil {
		if kind := g.readFormatType(in); kind == "json_schema" {
			g.readSchema(in)
		}
		text.close(in)
	}
	f.close(text)
}

// readFormatType reads the type of a form, and makes the grammar of any JSON object.
func (g *generation) readFormatType(in *fields) string {
	kind, _ := in.text("type")
	switch kind {
	case "text", "json_schema":
	case "json_object":
		g.setGrammar(in, "type", anyObject)
	default:
		in.fail("type", "want text, json_object or json_schema, got %q", clip([]byte(kind)))
	}
	return kind
}

// readSchema reads a schema with its name. Whether it is strict makes no difference: it always
// holds.
func (g *generation) readSchema(in *fields) {
	in.text("name")
	in.text("description")
	in.boolean("strict", false)
	raw, ok := in.take("schema")
	if !ok {
		in.fail("schema", "is required")
		return
	}
	g.setGrammar(in, "schema", string(raw))
}

func (g *generation) setGrammar(in *fields, name, schema string) {
	if in.err != nil {
		return
	}
	grammar, err := g.model.grammar(schema)
	if err != nil {
		in.fail(name, "%v", err)
		return
	}
	g.base.Grammar = grammar
}

// checkFormat refuses what cannot go with a form of the text.
func (g *generation) checkFormat(f *fields) {
	if g.base.Grammar == nil {
		return
	}
	if g.base.IgnoreEOS {
		f.fail("ignore_eos", "is not supported beside a response_format: the text ends when it is complete")
	}
	if g.base.Rules.MinTokens > 0 {
		f.fail("min_tokens", "is not supported beside a response_format: the text ends when it is complete")
	}
}
