package tokenizer

import "fmt"

// spelling says how a tokenizer.json's decoder turns pieces into bytes. Without a
// decoder it is the inverse of SentencePiece's or of the byte-level spelling.
type spelling struct {
	replace   []rule
	byteToken bool // <0xNN> is a byte
	byteLevel bool
	strip     strip
}

func newSpelling(decoder *component, byteLevel bool) (*spelling, error) {
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
