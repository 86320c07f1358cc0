package tokenizer

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// step is a normalizer, pre-tokenizer, post-processor or decoder of a
// tokenizer.json, or a sequence of them.
type step struct {
	Type           string  `json:"type"`
	Normalizers    []step  `json:"normalizers"`
	Pretokenizers  []step  `json:"pretokenizers"`
	Processors     []step  `json:"processors"`
	Decoders       []step  `json:"decoders"`
	Prepend        string  `json:"prepend"`
	Content        string  `json:"content"`
	Start          int     `json:"start"`
	Stop           int     `json:"stop"`
	Replacement    string  `json:"replacement"`
	PrependScheme  *string `json:"prepend_scheme"`
	AddPrefixSpace *bool   `json:"add_prefix_space"`
	Split          *bool   `json:"split"`
	UseRegex       *bool   `json:"use_regex"`
	Individual     bool    `json:"individual_digits"`
	Behavior       string  `json:"behavior"`
	Invert         bool    `json:"invert"`
	Pattern        struct {
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

// flat lists the steps of a sequence in order; nothing for an absent one. The
// nesting is bounded by that of the file.
func (s *step) flat() []step {
	if s == nil {
		return nil
	}
	if s.Type != "Sequence" {
		return []step{*s}
	}
	var out []step
	for _, list := range [][]step{s.Normalizers, s.Pretokenizers, s.Processors, s.Decoders} {
		for i := range list {
			out = append(out, list[i].flat()...)
		}
	}
	return out
}

// is says whether an optional flag has a value, given its default.
func is(flag *bool, absent bool) bool {
	if flag == nil {
		return absent
	}
	return *flag
}

// pipeline understands the normalizer and the pre-tokenizer, or refuses them.
func (t *Tokenizer) pipeline(f *file) error {
	normalizers := f.Normalizer.flat()
	if len(normalizers) > mostRules {
		return fmt.Errorf("normalizer: want at most %d steps, got %d", mostRules, len(normalizers))
	}
	for _, s := range normalizers {
		switch {
		case s.Type == "Prepend":
			t.normalizer.rules = append(t.normalizer.rules, rule{prepend: s.Prepend})
		case s.Type == "Replace" && s.Pattern.String != nil && *s.Pattern.String != "":
			t.normalizer.rules = append(t.normalizer.rules, rule{from: *s.Pattern.String, to: s.Content})
		case s.Type == "Replace" && s.Pattern.Regex != nil:
			r, err := regexRule(*s.Pattern.Regex, s.Content)
			if err != nil {
				return err
			}
			t.normalizer.rules = append(t.normalizer.rules, r)
		case s.Type == "Replace":
			return errors.New("normalizer Replace: no pattern")
		default:
			return fmt.Errorf("normalizer %s: not supported", clip(s.Type))
		}
	}
	steps := f.PreTokenizer.flat()
	for i, s := range steps {
		last := i == len(steps)-1
		switch {
		case s.Type == "Metaspace" && len(steps) == 1:
			if err := t.metaspace(&s); err != nil {
				return err
			}
		case s.Type == "Split" && i == 0 && !last:
			if s.Pattern.Regex == nil || s.Behavior != "Isolated" || s.Invert {
				return errors.New("pre_tokenizer Split: want a pattern that is a regex, behavior Isolated, not inverted")
			}
			switch *s.Pattern.Regex {
			case llama3Pattern:
				t.words.cut = cutLlama3
			case qwen2Pattern:
				t.words.cut = cutQwen2
			case gpt2Pattern:
				t.words.cut = cutGPT2
			default:
				return fmt.Errorf("pre_tokenizer Split: regex %q: not supported", clip(*s.Pattern.Regex))
			}
		case s.Type == "Digits" && i == 0 && !last:
			if !s.Individual {
				return errors.New("pre_tokenizer Digits: want individual_digits")
			}
			t.words.cut = cutDigits
		case s.Type == "ByteLevel" && last && i <= 1:
			t.model.bytes = true
			switch digits := t.words.cut == cutDigits; {
			case is(s.UseRegex, true) && i > 0 && !digits:
				return errors.New("pre_tokenizer ByteLevel: use_regex after a Split: not supported")
			case is(s.UseRegex, true) && !digits:
				t.words.cut = cutGPT2
			case digits && !is(s.UseRegex, true):
				return errors.New("pre_tokenizer ByteLevel: after Digits without use_regex: not supported")
			}
			if is(s.AddPrefixSpace, true) {
				if i > 0 {
					return errors.New("pre_tokenizer ByteLevel: add_prefix_space after a Split: not supported")
				}
				t.words.prefix = prefixAlways
			}
		default:
			return fmt.Errorf("pre_tokenizer %s: not supported, or not in this place", clip(s.Type))
		}
	}
	return nil
}

// regexRule understands the regular expressions that WriteJSON writes.
func regexRule(regex, content string) (rule, error) {
	switch {
	case regex == leadingSpaces && content == "":
		return rule{from: " ", where: atBeginning}, nil
	case regex == doubleSpaces && content == " ":
		return rule{from: " ", where: afterItself}, nil
	case regex == trailingMeta && content == "":
		return rule{from: meta, where: atEnd}, nil
	}
	return rule{}, fmt.Errorf("normalizer Replace: regex %q: not supported", clip(regex))
}

func (t *Tokenizer) metaspace(s *step) error {
	if utf8.RuneCountInString(s.Replacement) != 1 {
		return fmt.Errorf("pre_tokenizer Metaspace: want one character as replacement, got %q", clip(s.Replacement))
	}
	scheme := "always"
	if s.PrependScheme != nil {
		scheme = *s.PrependScheme
	}
	if !is(s.AddPrefixSpace, true) {
		if s.PrependScheme != nil && scheme != "never" {
			return fmt.Errorf("pre_tokenizer Metaspace: prepend_scheme %s without add_prefix_space", clip(scheme))
		}
		scheme = "never"
	}
	switch scheme {
	case "first":
		t.words.prefix = prefixFirst
	case "always":
		t.words.prefix = prefixAlways
	case "never":
	default:
		return fmt.Errorf("pre_tokenizer Metaspace: prepend_scheme %q: not supported", clip(scheme))
	}
	t.words.replacement = s.Replacement
	if is(s.Split, true) {
		t.words.cut = cutReplacement
	}
	return nil
}

// template takes BOS from the post-processor: one special token before the text,
// and nothing after it.
func (t *Tokenizer) template(p *step) error {
	for _, s := range p.flat() {
		switch s.Type {
		case "ByteLevel": // about offsets only
		case "TemplateProcessing":
			for i, e := range s.Single {
				switch {
				case e.Sequence != nil && e.Sequence.ID == "A" && i == len(s.Single)-1:
				case e.SpecialToken != nil && i == 0 && len(s.Single) == 2:
					ids := s.SpecialTokens[e.SpecialToken.ID].IDs
					if len(ids) != 1 || ids[0] < 0 || ids[0] >= len(t.pieces) || t.class[ids[0]] == hole {
						return fmt.Errorf("post_processor TemplateProcessing: %q: want one id of the vocabulary, got %v", clip(e.SpecialToken.ID), ids)
					}
					t.bos, t.bosSaid = ids[0], true
				default:
					return errors.New("post_processor TemplateProcessing: want the text, with at most one special token before it")
				}
			}
		default:
			return fmt.Errorf("post_processor %s: not supported", clip(s.Type))
		}
	}
	return nil
}

// spelling is how a tokenizer.json's decoder turns pieces into bytes. Without a
// decoder it is the inverse of SentencePiece's or of the byte-level spelling.
type spelling struct {
	replace   []rule
	byteToken bool // <0xNN> is a byte
	byteLevel bool
	strip     strip
}

func newSpelling(decoder *step, byteLevel bool) (*spelling, error) {
	s := &spelling{byteLevel: byteLevel}
	steps := decoder.flat()
	if len(steps) > mostRules {
		return nil, fmt.Errorf("decoder: want at most %d steps, got %d", mostRules, len(steps))
	}
	if len(steps) == 0 {
		if !byteLevel {
			s.replace, s.byteToken, s.strip = []rule{{from: meta, to: " "}}, true, stripText
		}
		return s, nil
	}
	if (steps[0].Type == "ByteLevel") != byteLevel {
		return nil, fmt.Errorf("decoder %s: does not fit the pre_tokenizer", clip(steps[0].Type))
	}
	order, fused := 0, false // Replace, Metaspace < ByteFallback < Fuse < Strip
	for _, d := range steps {
		at := 0
		switch {
		case d.Type == "ByteLevel" && len(steps) == 1:
		case d.Type == "Replace" && d.Pattern.String != nil && *d.Pattern.String != "":
			s.replace = append(s.replace, rule{from: *d.Pattern.String, to: d.Content})
		case d.Type == "Metaspace" && d.Replacement != "":
			s.replace = append(s.replace, rule{from: d.Replacement, to: " "})
			if is(d.AddPrefixSpace, true) && (d.PrependScheme == nil || *d.PrependScheme != "never") {
				s.strip = stripFirst
			}
		case d.Type == "ByteFallback":
			s.byteToken, at = true, 1
		case d.Type == "Fuse":
			fused, at = true, 2
		case d.Type == "Strip" && fused && s.strip == stripNone && d.Content == " " && d.Start == 1 && d.Stop == 0:
			s.strip, at = stripText, 3
		default:
			return nil, fmt.Errorf("decoder %s: not supported, or not in this place", clip(d.Type))
		}
		if at < order {
			return nil, fmt.Errorf("decoder %s: not supported in this place", clip(d.Type))
		}
		order = at
	}
	return s, nil
}

// decode gives the bytes that a piece stands for.
func (s *spelling) decode(piece string) ([]byte, class, error) {
	if s.byteLevel {
		if b, ok := bytesOf(piece); ok {
			return b, normal, nil
		}
		return []byte(piece), normal, nil
	}
	if b, ok := byteOf(piece); ok && s.byteToken {
		return []byte{b}, byteKind, nil
	}
	text, err := s.text(piece)
	return text, normal, err
}

// text gives the bytes of a piece that is spelled in plain characters.
func (s *spelling) text(piece string) ([]byte, error) {
	n := normalizer{rules: s.replace}
	return n.apply([]byte(piece))
}

// bytesOf undoes byte-level BPE's spelling of bytes as printable characters:
// printable Latin-1 stands for itself, the other 68 bytes, in order, for U+0100
// and on.
func bytesOf(piece string) ([]byte, bool) {
	printable := func(b rune) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae && b <= 0xff }
	out := make([]byte, 0, len(piece))
	for _, r := range piece {
		switch {
		case printable(r):
		case r >= 0x100 && r <= 0x120: // 0..0x20
			r -= 0x100
		case r >= 0x121 && r <= 0x142: // 0x7f..0xa0
			r += 0x7f - 0x121
		case r == 0x143:
			r = 0xad
		default:
			return nil, false
		}
		out = append(out, byte(r))
	}
	return out, true
}
