package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"mop/runtime/tokenizer/oniguruma"
	"mop/runtime/tokenizer/sentencepiece"
)

// component is a normalizer, pre-tokenizer, post-processor or decoder of a
// tokenizer.json, or a sequence of them.
type component struct {
	Type           string      `json:"type"`
	Normalizers    []component `json:"normalizers"`
	Pretokenizers  []component `json:"pretokenizers"`
	Processors     []component `json:"processors"`
	Decoders       []component `json:"decoders"`
	Prepend        string      `json:"prepend"`
	Content        string      `json:"content"`
	Start          int         `json:"start"`
	Stop           int         `json:"stop"`
	Replacement    string      `json:"replacement"`
	PrependScheme  *string     `json:"prepend_scheme"`
	AddPrefixSpace *bool       `json:"add_prefix_space"`
	Split          *bool       `json:"split"`
	UseRegex       *bool       `json:"use_regex"`
	Behavior       string      `json:"behavior"`
	Delimiter      string      `json:"delimiter"`
	StripLeft      *bool       `json:"strip_left"`
	StripRight     *bool       `json:"strip_right"`

	IndividualDigits    *bool  `json:"individual_digits"`
	PrecompiledCharsMap []byte `json:"precompiled_charsmap"` // base64 in the file
	Invert              bool   `json:"invert"`
	Pattern             struct {
		String *string
		Regex  *string
	} `json:"pattern"`
	Single []struct {
		SpecialToken *struct {
			ID string `json:"id"`
		}
		Sequence *struct {
			ID string `json:"id"`
		}
	} `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int `json:"ids"`
	} `json:"special_tokens"`
}

// flat lists the components of a sequence in order; nil for an absent one. The depth
// of a sequence is bounded by that of the file.
func (s *component) flat() []component {
	if s == nil {
		return nil
	}
	if s.Type != "Sequence" {
		return []component{*s}
	}
	var out []component
	for _, list := range [][]component{s.Normalizers, s.Pretokenizers, s.Processors, s.Decoders} {
		for i := range list {
			out = append(out, list[i].flat()...)
		}
	}
	return out
}

// is is the value of an optional flag, or its default.
func is(flag *bool, absent bool) bool {
	if flag == nil {
		return absent
	}
	return *flag
}

// pipeline reads the normalizer and the pre-tokenizer. What is not supported is an
// error that names it.
func (t *Tokenizer) pipeline(f *file) error {
	normalizers := f.Normalizer.flat()
	if len(normalizers) > mostRules {
		return fmt.Errorf("normalizer: want at most %d steps, got %d", mostRules, len(normalizers))
	}
	for _, s := range normalizers {
		r, err := s.rule()
		if err != nil {
			return fmt.Errorf("normalizer %s: %w", clip(s.Type), err)
		}
		t.normalizer.rules = append(t.normalizer.rules, r)
	}
	steps := f.PreTokenizer.flat()
	if len(steps) > mostRules {
		return fmt.Errorf("pre_tokenizer: want at most %d steps, got %d", mostRules, len(steps))
	}
	for _, s := range steps {
		if err := t.addPreTokenizer(&s); err != nil {
			return fmt.Errorf("pre_tokenizer %s: %w", clip(s.Type), err)
		}
	}
	return nil
}

var errNotSupported = errors.New("not supported")

// rule reads a normalizer.
func (s *component) rule() (rule, error) {
	if form, ok := unicodeForms[s.Type]; ok {
		return rule{rewrite: form.Bytes}, nil
	}
	switch s.Type {
	case "Prepend":
		return rule{prepend: s.Prepend}, nil
	case "Lowercase":
		return rule{rewrite: lowercase}, nil
	case "Strip":
		return rule{rewrite: func(text []byte) []byte {
			if is(s.StripLeft, true) {
				text = bytes.TrimLeftFunc(text, unicode.IsSpace)
			}
			if is(s.StripRight, true) {
				text = bytes.TrimRightFunc(text, unicode.IsSpace)
			}
			return text
		}}, nil
	case "Precompiled":
		m, err := sentencepiece.ParseCharsMap(s.PrecompiledCharsMap)
		return rule{rewrite: precompiled(m)}, err
	case "Replace":
		switch {
		case s.Pattern.String != nil && *s.Pattern.String != "":
			return rule{from: *s.Pattern.String, to: s.Content}, nil
		case s.Pattern.Regex != nil:
			re, err := oniguruma.Compile(*s.Pattern.Regex)
			if err != nil {
				return rule{}, fmt.Errorf("regex %q: %w", clip(*s.Pattern.Regex), err)
			}
			return rule{regex: re, to: s.Content}, nil
		}
		return rule{}, errors.New("no pattern")
	}
	return rule{}, errNotSupported
}

// addPreTokenizer reads a pre-tokenizer and puts it behind those before.
func (t *Tokenizer) addPreTokenizer(s *component) error {
	add := func(p preTokenizer) error {
		if f, ok := p.(*splitter); ok {
			f.spelled = t.model.bytes
		}
		t.preTokenizers = append(t.preTokenizers, p)
		return nil
	}
	switch s.Type {
	case "ByteLevel":
		if t.model.bytes {
			return errors.New("a second one: not supported")
		}
		if is(s.AddPrefixSpace, true) {
			add(byteLevel{prefix: true})
		}
		if is(s.UseRegex, true) {
			add(&splitter{cover: gpt2Length, local: true})
		}
		t.model.bytes = true
		return nil
	case "Metaspace":
		if t.model.bytes {
			return errors.New("behind ByteLevel: not supported")
		}
		m, err := s.metaspace()
		if err != nil {
			return err
		}
		return add(m)
	case "Split":
		f, err := s.splitter()
		if err != nil {
			return err
		}
		return add(f)
	case "Digits":
		f := &splitter{rune: unicode.IsNumber, behavior: contiguous, local: true}
		if is(s.IndividualDigits, false) {
			f.behavior = isolated
		}
		return add(f)
	case "Punctuation":
		how, err := behaviorNamed(s.Behavior, "Isolated")
		if err != nil {
			return err
		}
		return add(&splitter{rune: isPunctuation, behavior: how, local: true})
	case "WhitespaceSplit":
		return add(&splitter{rune: unicode.IsSpace, behavior: removed})
	case "Whitespace":
		add(&splitter{rune: unicode.IsSpace, behavior: removed})
		return add(&splitter{rune: isWord, behavior: contiguous})
	case "BertPreTokenizer":
		add(&splitter{rune: unicode.IsSpace, behavior: removed})
		return add(&splitter{rune: isPunctuation})
	case "CharDelimiterSplit":
		if utf8.RuneCountInString(s.Delimiter) != 1 {
			return fmt.Errorf("want one character as delimiter, got %q", clip(s.Delimiter))
		}
		return add(&splitter{literal: []byte(s.Delimiter), behavior: removed})
	}
	return errNotSupported
}

// splitter reads a Split.
func (s *component) splitter() (*splitter, error) {
	how, err := behaviorNamed(s.Behavior, "")
	if err != nil {
		return nil, err
	}
	f := &splitter{behavior: how, invert: s.Invert}
	switch {
	case s.Pattern.String != nil && *s.Pattern.String != "":
		f.literal = []byte(*s.Pattern.String)
	case s.Pattern.Regex != nil:
		f.cover = covers(*s.Pattern.Regex)
		f.local = f.cover != nil && how == isolated
		if f.regex, err = oniguruma.Compile(*s.Pattern.Regex); err != nil {
			return nil, fmt.Errorf("regex %q: %w", clip(*s.Pattern.Regex), err)
		}
	default:
		return nil, errors.New("no pattern")
	}
	return f, nil
}

// behaviorNamed reads the behavior of a Split or a Punctuation.
func behaviorNamed(name, absent string) (behavior, error) {
	if name == "" {
		name = absent
	}
	for b, known := range []string{"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"} {
		if name == known {
			return behavior(b), nil
		}
	}
	return 0, fmt.Errorf("behavior %q: not supported", clip(name))
}

// metaspace reads a Metaspace.
func (s *component) metaspace() (metaspace, error) {
	m := metaspace{replacement: s.Replacement, split: is(s.Split, true)}
	if utf8.RuneCountInString(s.Replacement) != 1 {
		return m, fmt.Errorf("want one character as replacement, got %q", clip(s.Replacement))
	}
	scheme := "always"
	if s.PrependScheme != nil {
		scheme = *s.PrependScheme
	}
	if !is(s.AddPrefixSpace, true) {
		if s.PrependScheme != nil && scheme != "never" {
			return m, fmt.Errorf("prepend_scheme %s without add_prefix_space", clip(scheme))
		}
		scheme = "never"
	}
	switch scheme {
	case "first":
		m.prefix = prefixFirst
	case "always":
		m.prefix = prefixAlways
	case "never":
	default:
		return m, fmt.Errorf("prepend_scheme %q: not supported", clip(scheme))
	}
	return m, nil
}

var errTemplate = errors.New("post_processor TemplateProcessing: want the text, with at most one special token before it and one after it")

// template takes BOS and EOS from the post-processor, which may put one special token
// before the text and one after it.
func (t *Tokenizer) template(p *component) error {
	for _, s := range p.flat() {
		switch s.Type {
		case "ByteLevel": // about offsets only
		case "TemplateProcessing":
			text := false
			for i, e := range s.Single {
				switch {
				case e.Sequence != nil && e.Sequence.ID == "A" && !text:
					text = true
				case e.SpecialToken != nil && (!text && i == 0 || text && i == len(s.Single)-1):
					ids := s.SpecialTokens[e.SpecialToken.ID].IDs
					if len(ids) != 1 || ids[0] < 0 || ids[0] >= len(t.pieces) || t.class[ids[0]] == hole {
						return fmt.Errorf("post_processor TemplateProcessing: %q: want one id of the vocabulary, got %v", clip(e.SpecialToken.ID), ids)
					}
					switch {
					case !text:
						t.bos = ids[0]
					case !t.bosInFile: // a template that adds EOS alone says that there is no BOS
						t.bos = none
						fallthrough
					default:
						t.last = ids[0]
					}
					t.bosInFile = true
				default:
					return errTemplate
				}
			}
			if !text && len(s.Single) > 0 {
				return errTemplate
			}
		default:
			return fmt.Errorf("post_processor %s: not supported", clip(s.Type))
		}
	}
	return nil
}
