package tokenizer

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"

	"mop/runtime/tokenizer/oniguruma"
	"mop/runtime/tokenizer/sentencepiece"
)

// meta is the character that stands for a space in SentencePiece's pieces.
const meta = "▁"

// normalizer rewrites a text before it is cut into symbols: by the rules of a
// tokenizer.json in order, or by SentencePiece's procedure.
type normalizer struct {
	rules []rule
	piece *pieceNormalizer
}

// rule is one normalizer of a tokenizer.json.
type rule struct {
	prepend  string            // in front of a text that is not empty
	from, to string            // replace from by to
	regex    *oniguruma.Regexp // replace its matches by to
	rewrite  func(text []byte) []byte
}

// Bounds on what a normalizer may do, so that a small file and a small text do not
// take much memory. The largest real factor is 13, of U+FDFA.
const (
	mostGrowth = 16
	mostRules  = 64
)

// sizeLimit is how long a text may become, in bytes.
func sizeLimit(text []byte) int { return min(mostGrowth*len(text)+4096, math.MaxInt32/8) }

func (n *normalizer) apply(text []byte) ([]byte, error) {
	most, before := sizeLimit(text), len(text)
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
		case r.rewrite != nil:
			text = r.rewrite(text)
		case r.regex != nil:
			text = replaceMatches(text, r.regex, r.to, most)
		case r.from != "":
			text = bytes.ReplaceAll(text, []byte(r.from), []byte(r.to))
		case len(text) > 0:
			text = append([]byte(r.prepend), text...)
		}
		if len(text) > most {
			return nil, tooLong(len(text))
		}
	}
	return text, nil
}

// replaceMatches replaces every match by to. It adds nothing once the result is
// longer than most.
func replaceMatches(text []byte, re *oniguruma.Regexp, to string, most int) []byte {
	out := make([]byte, 0, len(text))
	last := 0
	re.Matcher().FindAll(text, func(start, end int) {
		if len(out) <= most {
			out = append(append(out, text[last:start]...), to...)
		}
		last = end
	})
	return append(out, text[last:]...)
}

// lowercase maps each character by itself, as Rust does.
func lowercase(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, text[i])
		case r == '\u0130':
			out = append(out, "i\u0307"...)
		default:
			out = utf8.AppendRune(out, unicode.ToLower(r))
		}
		i += n
	}
	return out
}

// precompiled maps text by a SentencePiece table as the tokenizers library does: a
// grapheme cluster of less than six bytes as a whole if the table has a prefix of it,
// and otherwise each character by itself.
func precompiled(m sentencepiece.CharsMap) func(text []byte) []byte {
	return func(text []byte) []byte {
		out := make([]byte, 0, len(text))
		state := -1
		for len(text) > 0 {
			var cluster []byte
			cluster, text, _, state = uniseg.FirstGraphemeCluster(text, state)
			if len(cluster) < 6 {
				if mapped, n := m.Shortest(cluster); n > 0 {
					out = append(out, mapped...)
					continue
				}
			}
			for len(cluster) > 0 {
				_, n := utf8.DecodeRune(cluster)
				if mapped, k := m.Shortest(cluster[:n]); k > 0 {
					out = append(out, mapped...)
				} else {
					out = append(out, cluster[:n]...)
				}
				cluster = cluster[n:]
			}
		}
		return out
	}
}

// unicodeForms are the normalizers named after Unicode's normalisation forms.
var unicodeForms = map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}

// pieceNormalizer is SentencePiece's: it maps characters by a table, removes spaces at
// both ends and all but one of several, puts a space in front, and writes spaces as
// meta.
type pieceNormalizer struct {
	chars   sentencepiece.CharsMap
	user    addedSet // user-defined pieces, which are not mapped
	prefix  bool     // add_dummy_prefix
	squeeze bool     // remove_extra_whitespaces
	escape  bool     // escape_whitespaces
}

// apply stops early once the result has more than most bytes.
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

// next maps the beginning of text and returns the number of bytes that it mapped. A
// byte that is not UTF-8 is not changed.
func (n *pieceNormalizer) next(text []byte) (mapped []byte, size int) {
	if a := n.user.longest(text); a != nil {
		return text[:len(a.text)], len(a.text)
	}
	if mapped, size := n.chars.Longest(text); size > 0 {
		return mapped, size
	}
	_, size = utf8.DecodeRune(text)
	return text[:size], size
}

func escape(s string) string   { return strings.ReplaceAll(s, " ", meta) }
func unescape(s string) string { return strings.ReplaceAll(s, meta, " ") }
