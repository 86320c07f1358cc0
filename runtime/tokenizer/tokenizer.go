// Package tokenizer turns text into token ids and back, exactly as the
// tokenizers that the models were trained with: byte-pair encoding over
// characters with byte fallback (SentencePiece, LLaMA-2) or over bytes after a
// pre-tokenisation (tiktoken, LLaMA-3). What flows in: a tokenizer file. What
// flows out: ids and bytes.
package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// class says how a piece behaves when it is decoded and matched.
type class uint8

const (
	normal   class = iota
	control        // decodes to nothing; matched in text only on request
	literal        // matched in text before anything else, always
	byteKind       // one raw byte
)

// Tokenizer is read-only after Open and may be used by many goroutines.
type Tokenizer struct {
	pieces [][]byte       // by id: the bytes a piece decodes to
	class  []class        // by id
	ids    map[string]int // of normal pieces, by their bytes
	merges map[pair]merge
	raw    [256]int // id of each byte on its own, -1 = none
	unk    int      // -1 = none
	bos    int      // -1 = none
	eos    []int

	byteLevel bool // pre-tokenised, symbols are bytes; else symbols are characters
	whole     bool // byteLevel: a word that is itself a piece is not merged
	prefix    bool // a space is put before each stretch of text, and taken away in decoding
	fuseUnk   bool // unknown characters in a row make one id
	added     []addedToken
}

// addedToken is text that stands for one id.
type addedToken struct {
	text    []byte
	id      int
	special bool
}

// EncodeOptions of one call.
type EncodeOptions struct {
	BOS     bool // begin with the BOS id, where there is one
	Special bool // text of special tokens gives their ids
}

// Open finds a directory's tokenizer: tokenizer.json, tokenizer.model,
// tokenizer.bin, in this order.
func Open(dir string) (*Tokenizer, error) {
	for _, name := range []string{"tokenizer.json", "tokenizer.model", "tokenizer.bin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return OpenFile(path)
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: want a tokenizer.json, tokenizer.model or tokenizer.bin, found none", dir)
}

// OpenFile reads a tokenizer file; its content says which kind it is.
func OpenFile(path string) (*Tokenizer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Parse reads the bytes of a tokenizer file of any kind.
func Parse(data []byte) (*Tokenizer, error) {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(data) == 0:
		return nil, errors.New("empty file")
	case len(trimmed) > 0 && trimmed[0] == '{':
		return parseJSON(data)
	case looksTiktoken(data):
		return parseTiktoken(data)
	case data[0] == 0x0a: // field 1 of a protobuf message: a piece
		return parseSentencePiece(data)
	}
	return parseLlama2c(data)
}

// newTokenizer makes an empty one for n ids.
func newTokenizer(n int) *Tokenizer {
	t := &Tokenizer{pieces: make([][]byte, n), class: make([]class, n), ids: make(map[string]int, n), merges: map[pair]merge{}, unk: -1, bos: -1}
	for b := range t.raw {
		t.raw[b] = -1
	}
	return t
}

// BOS is the id that begins a text, -1 = none.
func (t *Tokenizer) BOS() int { return t.bos }

// EOS is the ids that end a text.
func (t *Tokenizer) EOS() []int { return t.eos }

// Vocab is the number of ids.
func (t *Tokenizer) Vocab() int { return len(t.pieces) }

// Encode gives the ids of a text. Bytes that are not valid UTF-8 give the ids
// of the bytes themselves.
func (t *Tokenizer) Encode(text []byte, o EncodeOptions) ([]int, error) {
	var ids []int
	if o.BOS && t.bos >= 0 {
		ids = append(ids, t.bos)
	}
	var err error
	t.split(text, o.Special, func(part []byte, id int) {
		if id >= 0 {
			ids = append(ids, id)
		} else if err == nil {
			ids, err = t.encode(ids, part)
		}
	})
	return ids, err
}

// split cuts a text at its added tokens: each gives its id, the stretches
// between give -1. The earliest match counts, of several the longest.
func (t *Tokenizer) split(text []byte, special bool, each func(part []byte, id int)) {
	var first [256]bool
	var active []addedToken
	for _, a := range t.added {
		if special || !a.special {
			active = append(active, a)
			first[a.text[0]] = true
		}
	}
	start := 0
	for i := 0; i < len(text) && len(active) > 0; {
		best := -1
		if first[text[i]] {
			for j, a := range active {
				if bytes.HasPrefix(text[i:], a.text) && (best < 0 || len(a.text) > len(active[best].text)) {
					best = j
				}
			}
		}
		if best < 0 {
			i++
			continue
		}
		if start < i {
			each(text[start:i], -1)
		}
		each(nil, active[best].id)
		i += len(active[best].text)
		start = i
	}
	if start < len(text) {
		each(text[start:], -1)
	}
}

// encode appends the ids of a stretch of plain text.
func (t *Tokenizer) encode(ids []int, text []byte) ([]int, error) {
	if t.byteLevel {
		for len(text) > 0 {
			n := wordLength(text)
			word := text[:n]
			text = text[n:]
			if id, ok := t.ids[string(word)]; ok && t.whole {
				ids = append(ids, id)
				continue
			}
			symbols := make([]int, n)
			for i, b := range word {
				if symbols[i] = t.raw[b]; symbols[i] < 0 {
					return nil, fmt.Errorf("byte 0x%02x is not in the vocabulary", b)
				}
			}
			ids = append(ids, t.mergeAll(symbols)...)
		}
		return ids, nil
	}
	if t.prefix {
		text = append([]byte{' '}, text...)
	}
	var symbols []int
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		ch := text[i : i+n]
		i += n
		if id, ok := t.ids[string(ch)]; ok && !(r == utf8.RuneError && n == 1) {
			symbols = append(symbols, id)
			continue
		}
		var missing bool
		for _, b := range ch {
			missing = missing || t.raw[b] < 0
		}
		switch {
		case !missing:
			for _, b := range ch {
				symbols = append(symbols, t.raw[b])
			}
		case t.unk < 0:
			return nil, fmt.Errorf("character %q is not in the vocabulary", ch)
		case !t.fuseUnk || len(symbols) == 0 || symbols[len(symbols)-1] != t.unk:
			symbols = append(symbols, t.unk)
		}
	}
	return append(ids, t.mergeAll(symbols)...), nil
}
