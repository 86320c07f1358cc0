package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// llama3Pattern is the pre-tokenisation of LLaMA-3; wordLength matches it.
const llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// wordLength is the length of the first word of text by llama3Pattern, whose
// alternatives are tried in order; at least one byte of a text that is not empty.
func wordLength(text []byte) int {
	r, n := utf8.DecodeRune(text)
	if c := contraction(text); c > 0 {
		return c
	}
	// [^\r\n\p{L}\p{N}]?\p{L}+
	if unicode.IsLetter(r) {
		return span(text, unicode.IsLetter)
	}
	newline := r == '\r' || r == '\n'
	if !newline && !unicode.IsNumber(r) {
		if k := span(text[n:], unicode.IsLetter); k > 0 {
			return n + k
		}
	}
	// \p{N}{1,3}
	if unicode.IsNumber(r) {
		for range 2 {
			r, k := utf8.DecodeRune(text[n:])
			if k == 0 || !unicode.IsNumber(r) {
				break
			}
			n += k
		}
		return n
	}
	// ' ?[^\s\p{L}\p{N}]+[\r\n]*'
	at := 0
	if r == ' ' {
		at = 1
	}
	if k := span(text[at:], isOther); k > 0 {
		at += k
		return at + span(text[at:], isNewline)
	}
	// White space. \s*[\r\n]+ takes all up to its last newline; else \s+(?!\S)
	// leaves the last one to the word that follows, unless it is the only one.
	space := span(text, isSpace)
	last, end, size := 0, 0, 0
	for end < space {
		r, k := utf8.DecodeRune(text[end:])
		end += k
		size = k
		if isNewline(r) {
			last = end
		}
	}
	switch {
	case last > 0:
		return last
	case space == len(text) || space == size:
		return space
	}
	return space - size
}

// contraction is the length of an English contraction at the beginning, or 0.
// The comparison folds case as Unicode does: U+017F is an s.
func contraction(text []byte) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	lower := func(i int) byte {
		if i >= len(text) {
			return 0
		}
		return text[i] | 0x20
	}
	switch lower(1) {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if lower(2) == 'e' {
			return 3
		}
	case 'l':
		if lower(2) == 'l' {
			return 3
		}
	}
	if r, n := utf8.DecodeRune(text[1:]); r == 0x17f {
		return 1 + n
	}
	return 0
}

func isNewline(r rune) bool { return r == '\r' || r == '\n' }
func isSpace(r rune) bool   { return unicode.IsSpace(r) }
func isOther(r rune) bool   { return !isSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r) }

// span is the length of the run of runes that satisfy is.
func span(text []byte, is func(rune) bool) int {
	n := 0
	for n < len(text) {
		r, k := utf8.DecodeRune(text[n:])
		if !is(r) {
			break
		}
		n += k
	}
	return n
}
