package tokenizer

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
)

// looksTiktoken tells a tiktoken file: its first line is base64, a space and a
// rank.
func looksTiktoken(data []byte) bool {
	line, _, _ := bytes.Cut(data[:min(len(data), 1024)], []byte("\n"))
	text, rank, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return false
	}
	_, errText := base64.StdEncoding.DecodeString(string(text))
	_, errRank := strconv.Atoi(string(bytes.TrimSpace(rank)))
	return errText == nil && errRank == nil
}

// llama3Special lists LLaMA-3's special tokens in the order of their ids, which
// follow the ranks; the rest of the 256 are reserved ones.
func llama3Special() []string {
	names := []string{"<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
		"<|reserved_special_token_2|>", "<|reserved_special_token_3|>", "<|start_header_id|>", "<|end_header_id|>",
		"<|reserved_special_token_4|>", "<|eot_id|>"}
	for i := 5; len(names) < 256; i++ {
		names = append(names, fmt.Sprintf("<|reserved_special_token_%d|>", i))
	}
	return names
}

// parseTiktoken reads LLaMA-3's tokenizer.model: a line for each piece, base64
// and rank. A piece's rank is its id, and merges go by the rank of their result.
func parseTiktoken(data []byte) (*Tokenizer, error) {
	var pieces [][]byte
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		text, rank, _ := bytes.Cut(line, []byte(" "))
		p, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(pieces)+1, err)
		}
		if r, err := strconv.Atoi(string(rank)); err != nil || r != len(pieces) || len(p) == 0 {
			return nil, fmt.Errorf("line %d: want a piece of rank %d, got rank %q", len(pieces)+1, len(pieces), rank)
		}
		pieces = append(pieces, p)
	}
	special := llama3Special()
	t := newTokenizer(len(pieces) + len(special))
	t.byteLevel, t.whole = true, true
	for id, p := range pieces {
		if _, ok := t.ids[string(p)]; ok {
			return nil, fmt.Errorf("line %d: %q stands twice", id+1, p)
		}
		t.pieces[id] = p
		t.ids[string(p)] = id
		if len(p) == 1 {
			t.raw[p[0]] = id
		}
	}
	for b, id := range t.raw {
		if id < 0 {
			return nil, errors.New("byte 0x" + strconv.FormatInt(int64(b), 16) + " has no rank")
		}
	}
	t.mergesFromScores(func(id int) float64 { return -float64(id) })
	for i, name := range special {
		id := len(pieces) + i
		t.pieces[id], t.class[id] = []byte(name), control
		t.added = append(t.added, addedToken{[]byte(name), id, true})
		t.named(name, id)
	}
	return t, nil
}
