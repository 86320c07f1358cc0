package tokenizer

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// The commonest patterns of byte-level tokenizers, as their files spell them.
// wordLength and gpt2Length match them faster than package oniguruma does.
const (
	llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2Pattern  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	gpt2Pattern   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
)

// covers finds the hand-written matcher of a pattern, nil if there is none.
func covers(pattern string) func(text []byte) int {
	switch pattern {
	case llama3Pattern:
		return func(text []byte) int { return wordLength(text, 3) }
	case qwen2Pattern:
		return func(text []byte) int { return wordLength(text, 1) }
	case gpt2Pattern:
		return gpt2Length
	}
	return nil
}

// wordLength is the length of the first word by llama3Pattern (digits 3) or
// qwen2Pattern (digits 1), whose alternatives are tried in order.
func wordLength(text []byte, digits int) int {
	r, n := utf8.DecodeRune(text)
	if c := contraction(text, true); c > 0 {
		return c
	}
	// [^\r\n\p{L}\p{N}]?\p{L}+
	if unicode.IsLetter(r) {
		return span(text, unicode.IsLetter)
	}
	if !isNewline(r) && !unicode.IsNumber(r) {
		if k := span(text[n:], unicode.IsLetter); k > 0 {
			return n + k
		}
	}
	// \p{N}{1,3}
	if unicode.IsNumber(r) {
		for range digits - 1 {
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
	// \s*[\r\n]+ takes all white space up to its last newline.
	space := span(text, unicode.IsSpace)
	if last := bytes.LastIndexAny(text[:space], "\r\n"); last >= 0 {
		return last + 1
	}
	return spaceLength(text, space)
}

// gpt2Length is the length of the first word by gpt2Pattern.
func gpt2Length(text []byte) int {
	if c := contraction(text, false); c > 0 {
		return c
	}
	at := 0
	if text[0] == ' ' {
		at = 1
	}
	for _, is := range []func(rune) bool{unicode.IsLetter, unicode.IsNumber, isOther} {
		if k := span(text[at:], is); k > 0 {
			return at + k
		}
	}
	return spaceLength(text, span(text, unicode.IsSpace))
}

// spaceLength matches \s+(?!\S)|\s+ at the beginning of text, whose first space bytes
// are white space. The last character of white space belongs to the word that
// follows, unless it is the only one.
func spaceLength(text []byte, space int) int {
	_, last := utf8.DecodeLastRune(text[:space])
	if space == len(text) || space == last {
		return space
	}
	return space - last
}

// contraction is the length of an English contraction at the beginning, or 0.
// Folding case as Unicode does makes U+017F an s.
func contraction(text []byte, fold bool) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	letter := func(i int) byte {
		switch {
		case i >= len(text):
			return 0
		case fold && text[i] >= 'A' && text[i] <= 'Z':
			return text[i] + 'a' - 'A'
		}
		return text[i]
	}
	switch letter(1) {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if letter(2) == 'e' {
			return 3
		}
	case 'l':
		if letter(2) == 'l' {
			return 3
		}
	}
	if r, n := utf8.DecodeRune(text[1:]); fold && r == 0x17f {
		return 1 + n
	}
	return 0
}

func isNewline(r rune) bool { return r == '\r' || r == '\n' }

func isOther(r rune) bool {
	return !unicode.IsSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r)
}

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
