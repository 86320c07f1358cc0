// Package tokenizer converts text to token ids and back, exactly as the tokenizers
// with which the models were trained. It reads tokenizer.json (any pipeline that
// LLaMA-type models use, with BPE or Unigram), SentencePiece models, tiktoken files and
// llama2.c's tokenizer.bin.
//
// # From text to ids
//
// The text is cut at added tokens. The text between them is normalised, cut at those
// added tokens that are searched in normalised text, and cut into words by the
// pre-tokenizers. In each word the symbols (characters or bytes) are merged, the best
// pair first; or, with Unigram, the segmentation with the best score is taken.
//
// # Differences from other libraries
//
//   - A byte that is not part of valid UTF-8 gives the id of that byte (the unknown id
//     in a vocabulary without bytes), so that decoding returns it. SentencePiece
//     replaces it by U+FFFD; the other libraries do not accept such text.
//   - Control tokens (BOS, EOS, unknown, "special" ones) decode to nothing, as with
//     transformers' skip_special_tokens. Only the unknown id of a SentencePiece model
//     decodes to the surface that its file names. Byte ids decode to their bytes, also
//     where these are not valid text; the other libraries write U+FFFD.
//   - SentencePiece and llama2.c never parse special tokens in a text. On request this
//     package cuts the text at them, and encodes each part as a text by itself, as
//     tokenizer.json does.
//   - A character that is not in the vocabulary of a tokenizer without bytes and
//     without an unknown token is an error; the tokenizers library drops it.
package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"mop/internal/files"
	"mop/runtime/config"
)

// maxFile bounds a tokenizer file, in bytes. LLaMA-3's has 9 MB.
const maxFile = 256 << 20

// class says how a piece is decoded.
type class uint8

const (
	hole     class = iota // no piece has this id
	normal                // stands for its text
	byteKind              // stands for one byte
	control               // decodes to nothing
	literal               // an added token that is text
	unknown               // decodes to a fixed surface
)

// none stands for an id that is absent.
const none = -1

// Tokenizer is read-only after Open and may be used by many goroutines.
type Tokenizer struct {
	pieces [][]byte // by id: the bytes that a piece decodes to
	class  []class  // by id

	raw           addedSet // looked for in the text as it is
	normalizer    normalizer
	normalized    addedSet // looked for in normalised text
	preTokenizers []preTokenizer
	model         bpe
	unigram       *unigram // nil = merges
	strip         strip

	bos           int // none = -1
	eos           []int
	last          int  // ends a text that is encoded with EOS; none = nothing does
	bosInFile     bool // by the file itself, not guessed from a name
	eosInSettings bool // eos[0], by the settings beside the file

	file string // that it was read from; "" = from bytes
}

// EncodeOptions of one call.
type EncodeOptions struct {
	BOS     bool // begin with the BOS id, where there is one
	EOS     bool // end with the EOS id, where the tokenizer's settings say so
	Special bool // text of special tokens gives their ids
}

// Open reads a directory's tokenizer: the first of tokenizer.json, tokenizer.model and
// tokenizer.bin, and the files beside it that OpenFile reads.
func Open(dir string) (*Tokenizer, error) {
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		if reason := config.Explain(dir); reason != nil {
			return nil, fmt.Errorf("%s: %w", dir, reason)
		}
	}
	for _, name := range []string{"tokenizer.json", "tokenizer.model", "tokenizer.bin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return OpenFile(path)
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	if reason := config.Explain(dir); reason != nil {
		return nil, fmt.Errorf("%s: %w", dir, reason)
	}
	return nil, fmt.Errorf("%s: want a tokenizer.json, tokenizer.model or tokenizer.bin, found none", dir)
}

// OpenFile reads a tokenizer file, whose kind follows from its contents. Beside a
// tokenizer.json or a SentencePiece model it reads tokenizer_config.json,
// special_tokens_map.json and added_tokens.json, as transformers does: further tokens,
// the names of BOS and EOS, whether texts begin and end with them, and how a
// SentencePiece model treats spaces in front. Errors name the file.
func OpenFile(path string) (*Tokenizer, error) {
	read := files.Read
	if filepath.Ext(path) == ".json" {
		read = files.ReadText
	}
	data, err := read(path, maxFile)
	if err != nil {
		return nil, err
	}
	s, found, err := readSettings(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if found && isJSON(data) && s.needsModel() {
		if model := besideModel(filepath.Dir(path)); model != "" {
			return OpenFile(model)
		}
	}
	parse := Parse
	if filepath.Ext(path) == ".json" {
		parse = parseJSON
	}
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.file = path
	model := t.normalizer.piece != nil
	if found && (isJSON(data) || model) {
		if err := t.apply(&s, model); err != nil {
			return nil, fmt.Errorf("%s: beside it: %w", path, err)
		}
	}
	return t, nil
}

// Parse reads the bytes of a tokenizer file of any kind.
func Parse(data []byte) (*Tokenizer, error) {
	if err := files.CheckLFS(data); err != nil {
		return nil, err
	}
	switch {
	case len(data) == 0:
		return nil, errors.New("empty file")
	case isJSON(data):
		return parseJSON(data)
	case looksTiktoken(data):
		return parseTiktoken(data)
	case data[0] == 0x0a: // field 1 of a protobuf message: a piece
		sp, err := parseSentencePiece(data)
		if err != nil && len(data) > 4 && data[1]|data[2]|data[3] == 0 {
			// A tokenizer.bin whose longest piece has 10 bytes begins with the same byte.
			// No SentencePiece model continues with zeros: its first piece has a text.
			return parseLlama2c(data)
		}
		return sp, err
	}
	return parseLlama2c(data)
}

func isJSON(data []byte) bool {
	text := bytes.TrimLeft(data, " \t\r\n")
	return len(text) > 0 && text[0] == '{'
}

// newTokenizer makes a tokenizer without pieces for n ids.
func newTokenizer(n int) *Tokenizer {
	t := &Tokenizer{pieces: make([][]byte, n), class: make([]class, n), bos: none, last: none}
	t.model.ids = make(map[string]int32, n)
	t.model.unk = none
	for b := range t.model.raw {
		t.model.raw[b] = none
	}
	return t
}

// BOS is the token id that begins a text, -1 = none.
func (t *Tokenizer) BOS() int { return t.bos }

// WithoutBOS is the same tokenizer, but none of its texts begin with BOS.
func (t *Tokenizer) WithoutBOS() *Tokenizer {
	c := *t
	c.bos = -1
	return &c
}

// EOS lists the token ids that end a text. The first one is that of the settings beside
// the tokenizer, where they name one.
func (t *Tokenizer) EOS() []int { return append([]int(nil), t.eos...) }

// NamesEOS reports whether the settings beside the tokenizer name EOS. Otherwise EOS follows
// from the usual names of tokens.
func (t *Tokenizer) NamesEOS() bool { return t.eosInSettings }

// Vocab is one more than the highest id.
func (t *Tokenizer) Vocab() int { return len(t.pieces) }

// Has reports whether a piece has this id. The vocabulary of a model is often larger
// than its tokenizer's.
func (t *Tokenizer) Has(id int) bool { return id >= 0 && id < len(t.class) && t.class[id] != hole }

// IsControl reports whether an id is that of a special token, which decodes to nothing.
func (t *Tokenizer) IsControl(id int) bool { return t.Has(id) && t.class[id] == control }

// Encode returns the token ids of a text. Bytes that are not valid UTF-8 give the ids
// of the bytes.
func (t *Tokenizer) Encode(text []byte, o EncodeOptions) ([]int, error) {
	if len(text) <= chunkBytes {
		return t.encode(text, o)
	}
	out := make([]int, 0, len(text)/4+4)
	err := t.EncodeEach(text, o, func(ids []int) bool {
		out = append(out, ids...)
		return true
	})
	return out, err
}

// encode is Encode without chunks.
func (t *Tokenizer) encode(text []byte, o EncodeOptions) ([]int, error) {
	e := encoder{t: t, ids: make([]int, 0, len(text)/4+4)}
	err := e.run(text, o)
	if err != nil {
		return nil, err
	}
	return e.ids, nil
}

// run appends the ids of a text.
func (e *encoder) run(text []byte, o EncodeOptions) error {
	t := e.t
	if len(text) > math.MaxInt32/4 { // normalising makes three bytes of a space
		return fmt.Errorf("text of %d bytes: want at most %d", len(text), math.MaxInt32/4)
	}
	if o.BOS && t.bos >= 0 {
		e.ids = append(e.ids, t.bos)
	}
	for _, s := range t.raw.split(text, o.Special) {
		if s.id >= 0 {
			e.ids = append(e.ids, s.id)
			continue
		}
		text, err := t.normalizer.apply(s.text)
		if err != nil {
			return err
		}
		for _, n := range t.normalized.split(text, o.Special) {
			if n.id >= 0 {
				e.ids = append(e.ids, n.id)
			} else if err := e.stretch(n.text, s.start == 0 && n.start == 0); err != nil {
				return err
			}
		}
	}
	if o.EOS && t.last >= 0 {
		e.ids = append(e.ids, t.last)
	}
	return nil
}

// named sets BOS and EOS by the usual names of their tokens.
func (t *Tokenizer) named(text string, id int) {
	switch text {
	case "<s>", "<|begin_of_text|>":
		t.bos = id
	case "</s>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>":
		t.eos = append(t.eos, id)
	}
}
