package gguf

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"slices"
	"strings"

	"mop/runtime/tokenizer"
)

// fromTiktoken fills in LLaMA-3's tokenizer.model, a list of pieces of bytes by rank. It
// merges whichever two neighbours give the piece of lowest rank; gpt2 has a list of
// merges, in which all pairs that give a piece stand at its rank.
func (v *vocabulary) fromTiktoken(data []byte, t *tokenizer.Tokenizer) error {
	v.model, v.pre = "gpt2", "llama-bpe"
	var pieces []string
	ids := map[string]int{}
	for line := range bytes.Lines(data) {
		text, _, ok := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		if !ok {
			continue
		}
		p, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			return err
		}
		id := len(pieces)
		pieces = append(pieces, string(p))
		ids[string(p)] = id
		v.texts[id], v.types[id] = spelled(string(p)), tokenNormal
	}
	for _, p := range pieces {
		var cuts []int
		for cut := 1; cut < len(p); cut++ {
			_, left := ids[p[:cut]]
			_, right := ids[p[cut:]]
			if left && right {
				cuts = append(cuts, cut)
			}
		}
		slices.SortFunc(cuts, func(a, b int) int {
			return cmp.Or(cmp.Compare(ids[p[:a]], ids[p[:b]]), cmp.Compare(ids[p[a:]], ids[p[b:]]))
		})
		for _, cut := range cuts {
			v.merges = append(v.merges, spelled(p[:cut])+" "+spelled(p[cut:]))
		}
	}
	return v.addTokens(t)
}

// spelled writes bytes as byte-level BPE does: each as one visible character, itself
// where it is one in Latin-1, the others from U+0100 on.
func spelled(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteRune(byteRunes[text[i]])
	}
	return b.String()
}

var byteRunes = func() (out [256]rune) {
	next := rune(256)
	for b := range out {
		switch {
		case b >= '!' && b <= '~', b >= 0xa1 && b <= 0xac, b >= 0xae:
			out[b] = rune(b)
		default:
			out[b] = next
			next++
		}
	}
	return out
}()
