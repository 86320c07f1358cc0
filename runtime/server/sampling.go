package server

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"

	"mop/runtime/engine"
)

// Caps of what a request may ask for.
const (
	maxN           = 8
	maxStops       = 4
	maxStopBytes   = 256
	maxLogitBias   = 300
	maxTopLogprobs = 20
	maxPrompts     = 64
)

// generation is what completions, chats and responses have in common.
type generation struct {
	model    *Model
	base     engine.Request // without prompt and sequence number
	n        int
	stops    []string
	format   string // the field that has the form of the text
	explicit bool   // the number of tokens was given
	stream   bool
	usage    bool // of streams
}

// readModel reads the name of the model, which must be one that is served. Where there is
// none, it is the first one.
func (s *Server) readModel(f *fields) *Model {
	name, given := f.text("model")
	if !given {
		return s.served()[0]
	}
	return s.findModel(f, name)
}

// findModel gives the model of a name, nil with an error in f where there is none.
func (s *Server) findModel(f *fields, name string) *Model {
	for _, m := range s.served() {
		if m.Name == name {
			return m
		}
	}
	if f.err == nil {
		f.err = &apiError{Status: http.StatusNotFound, Type: "not_found_error", Param: "model", Code: "model_not_found", Message: "model: there is no model " + strconv.Quote(clip([]byte(name))) + ": see /v1/models"}
	}
	return nil
}

// readGeneration reads the fields that completions and chats share, except the number of tokens.
func (s *Server) readGeneration(f *fields) *generation {
	g := &generation{model: s.readModel(f)}
	if g.model == nil {
		return g
	}
	g.n = f.integer("n", 1, 1, maxN)
	g.stream = f.boolean("stream", false)
	if f.has("stream_options") && !g.stream {
		f.fail("stream_options", "is only for streams")
	}
	if o := f.object("stream_options"); o != nil {
		g.usage = o.boolean("include_usage", false)
		o.neutral("include_obfuscation", "false")
		f.close(o)
	}
	g.stops = readStops(f, "stop")
	g.readSampling(f)
	g.base.IgnoreEOS = f.boolean("ignore_eos", false)
	if n := f.integer("min_tokens", 0, 0, maxInt); n > 0 {
		g.base.Rules.MinTokens = n
		g.base.Rules.Forbidden = g.model.config.EOS
	}
	g.readResponseFormat(f)
	g.checkFormat(f)
	f.neutral("use_beam_search", "false")
	f.neutral("skip_special_tokens", "true")
	f.neutral("include_stop_str_in_output", "false")
	f.ignore("user")
	return g
}

// readSampling reads the sampling parameters.
func (g *generation) readSampling(f *fields) {
	p := &g.base.Sampling
	p.Temperature = f.number("temperature", 1, 0, 2)
	p.TopP = f.number("top_p", 1, 0, 1)
	p.MinP = f.number("min_p", 0, 0, 1)
	if p.TopK = f.integer("top_k", 0, -1, maxInt); p.TopK < 0 {
		p.TopK = 0
	}
	p.RepetitionPenalty = f.number("repetition_penalty", 1, 0.01, 100)
	if p.TopP == 0 {
		f.fail("top_p", "want a number above 0, got 0")
	}
	g.base.Rules.Presence = f.number("presence_penalty", 0, -2, 2)
	g.base.Rules.Frequency = f.number("frequency_penalty", 0, -2, 2)
	g.base.Rules.Bias = readBias(f, g.model.config.VocabSize)
	if raw, ok := f.take("seed"); !ok {
		p.Seed = rand.Uint64()
	} else if n, err := strconv.ParseInt(string(raw), 10, 64); err != nil {
		f.fail("seed", "want a whole number of 64 bits, got %s", clip(raw))
	} else {
		p.Seed = uint64(n)
	}
}

func readBias(f *fields, vocabulary int) map[int]float64 {
	in := f.object("logit_bias")
	if in == nil {
		return nil
	}
	if len(in.raw) > maxLogitBias {
		f.fail("logit_bias", "want at most %d tokens, got %d", maxLogitBias, len(in.raw))
		return nil
	}
	bias := map[int]float64{}
	for key := range in.raw {
		token, err := strconv.Atoi(key)
		if err != nil || token < 0 || token >= vocabulary || strconv.Itoa(token) != key {
			f.fail("logit_bias", "want token ids below %d, got %q", vocabulary, clip([]byte(key)))
			return nil
		}
		if !in.has(key) {
			in.fail(key, "want a number from -100 to 100, got null")
		}
		bias[token] = in.number(key, 0, -100, 100)
	}
	f.close(in)
	return bias
}

// readStops reads a stop string or an array of some.
func readStops(f *fields, name string) (stops []string) {
	raw, ok := f.take(name)
	if !ok {
		return nil
	}
	if raw[0] == '"' {
		stops = make([]string, 1)
		if json.Unmarshal(raw, &stops[0]) != nil {
			f.fail(name, "want a string, got %s", clip(raw))
		}
	} else if !allStrings(raw, &stops) {
		f.fail(name, "want a string or an array of strings, got %s", clip(raw))
		return nil
	}
	if len(stops) > maxStops {
		f.fail(name, "want at most %d strings, got %d", maxStops, len(stops))
	}
	for _, s := range stops {
		if len(s) == 0 || len(s) > maxStopBytes {
			f.fail(name, "want strings of 1 to %d bytes, got one of %d", maxStopBytes, len(s))
		}
	}
	return stops
}

// allStrings decodes an array of strings, in which null is not one.
func allStrings(raw json.RawMessage, out *[]string) bool {
	var items []*string
	if json.Unmarshal(raw, &items) != nil {
		return false
	}
	for _, s := range items {
		if s == nil {
			return false
		}
		*out = append(*out, *s)
	}
	return true
}

// limitTokens sets how many tokens a prompt's continuation has: those that were asked for,
// or those that the context has room for. Prompts that are too long are refused by the engine.
func (g *generation) limitTokens(r *engine.Request) {
	room := max(g.model.Engine.Stats().MaxContext-len(r.Prompt)+1, 1)
	if !g.explicit {
		r.MaxTokens = min(r.MaxTokens, room)
	}
	r.Rules.MinTokens = min(r.Rules.MinTokens, r.MaxTokens)
}
