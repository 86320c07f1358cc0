package tokenizer

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// meta is the character that stands for a space in SentencePiece's pieces.
const meta = "▁"

// normalizer rewrites a stretch of text before it is cut into symbols: the rules
// of a tokenizer.json in order, or SentencePiece's own procedure.
type normalizer struct {
	rules []rule
	piece *pieceNormalizer
}

// rule puts prepend before a stretch, or replaces from by to, or removes from
// where it stands at the beginning, at the end, or after itself.
type rule struct {
	prepend, from, to string
	where             where
}

type where uint8

const (
	everywhere where = iota
	atBeginning
	atEnd
	afterItself
)

// A normaliser that makes much more of a text than there was is no normaliser but
// a trap: rules that each double a text, a character that is mapped to a book.
// The largest real factor is 13, of U+FDFA.
const (
	mostGrowth = 16
	mostRules  = 64
)

// room is how long a text may become, in bytes.
func room(text []byte) int { return min(mostGrowth*len(text)+4096, math.MaxInt32/8) }

func (n *normalizer) apply(text []byte) ([]byte, error) {
	most, before := room(text), len(text)
	tooLong := func(length int) error {
		return fmt.Errorf("normalizer: %d bytes become %d or more, want at most %d", before, length, most)
	}
	if n.piece != nil {
		out := n.piece.apply(text, most)
		if len(out) > most {
			return nil, tooLong(len(out))
		}
		return out, nil
	}
	for _, r := range n.rules {
		longer := len(r.prepend)
		if r.from != "" && len(r.to) > len(r.from) {
			longer = bytes.Count(text, []byte(r.from)) * (len(r.to) - len(r.from))
		}
		if longer > most-len(text) {
			return nil, tooLong(len(text) + longer)
		}
		switch {
		case r.from == "" && len(text) > 0:
			text = append([]byte(r.prepend), text...)
		case r.from == "":
		case r.where == atBeginning:
			for bytes.HasPrefix(text, []byte(r.from)) {
				text = text[len(r.from):]
			}
		case r.where == atEnd:
			for bytes.HasSuffix(text, []byte(r.from)) {
				text = text[:len(text)-len(r.from)]
			}
		case r.where == afterItself:
			text = single(text, []byte(r.from))
		default:
			text = bytes.ReplaceAll(text, []byte(r.from), []byte(r.to))
		}
	}
	return text, nil
}

// single leaves of several from in a row one.
func single(text, from []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		if !bytes.HasPrefix(text[i:], from) {
			out = append(out, text[i])
			i++
			continue
		}
		out = append(out, from...)
		for bytes.HasPrefix(text[i:], from) {
			i += len(from)
		}
	}
	return out
}

// pieceNormalizer is SentencePiece's: characters are mapped, spaces at both ends
// and doubled ones removed, a space put in front, and spaces written as meta.
type pieceNormalizer struct {
	chars   charsMap
	user    addedSet // user-defined pieces, which are not mapped
	prefix  bool     // add_dummy_prefix
	squeeze bool     // remove_extra_whitespaces
	escape  bool     // escape_whitespaces
}

// apply ends early once it has made more than most bytes.
func (n *pieceNormalizer) apply(text []byte, most int) []byte {
	space := " "
	if n.escape {
		space = meta
	}
	if n.squeeze {
		for len(text) > 0 {
			mapped, size := n.next(text)
			if string(mapped) != " " {
				break
			}
			text = text[size:]
		}
	}
	if len(text) == 0 {
		return nil
	}
	out := make([]byte, 0, len(text)+len(text)/2)
	if n.prefix {
		out = append(out, space...)
	}
	afterSpace := n.squeeze
	for len(text) > 0 && len(out) <= most {
		mapped, size := n.next(text)
		text = text[size:]
		for afterSpace && len(mapped) > 0 && mapped[0] == ' ' {
			mapped = mapped[1:]
		}
		for _, b := range mapped {
			if b == ' ' {
				out = append(out, space...)
			} else {
				out = append(out, b)
			}
		}
		if len(mapped) > 0 {
			afterSpace = n.squeeze && mapped[len(mapped)-1] == ' '
		}
	}
	for n.squeeze && bytes.HasSuffix(out, []byte(space)) {
		out = out[:len(out)-len(space)]
	}
	return out
}

// next maps what text begins with and says how many of its bytes that was. A
// byte that is not UTF-8 stays as it is.
func (n *pieceNormalizer) next(text []byte) (mapped []byte, size int) {
	if a := n.user.longest(text); a != nil {
		return text[:len(a.text)], len(a.text)
	}
	if mapped, size := n.chars.longest(text); size > 0 {
		return mapped, size
	}
	_, size = utf8.DecodeRune(text)
	return text[:size], size
}

func escape(s string) string   { return strings.ReplaceAll(s, " ", meta) }
func unescape(s string) string { return strings.ReplaceAll(s, meta, " ") }
