package tokenizer

import (
	"bytes"
	"fmt"
)

// Difference says how the ids of two tokenizers differ in meaning, "" = they do not. Ids
// that only one of them has count as a difference only if they are no added tokens, since
// vocabularies are padded.
func (t *Tokenizer) Difference(o *Tokenizer) string {
	texts, others := t.addedTexts(), o.addedTexts()
	for id := range max(len(t.class), len(o.class)) {
		a, b := t.classOf(id), o.classOf(id)
		switch {
		case a == hole && b == hole, a == hole && b != normal, b == hole && a != normal:
		case a == hole:
			return fmt.Sprintf("id %d is %q for one and nothing for the other", id, clip(string(o.pieces[id])))
		case b == hole:
			return fmt.Sprintf("id %d is %q for one and nothing for the other", id, clip(string(t.pieces[id])))
		case texts[id] != "" && others[id] != "":
			if texts[id] != others[id] {
				return fmt.Sprintf("id %d is %q for one and %q for the other", id, clip(texts[id]), clip(others[id]))
			}
		case (a == control) != (b == control) || a != control && !bytes.Equal(t.pieces[id], o.pieces[id]):
			return fmt.Sprintf("id %d is %q for one and %q for the other", id, clip(string(t.pieces[id])), clip(string(o.pieces[id])))
		}
	}
	if t.bos != o.bos {
		return fmt.Sprintf("one has BOS %d and the other %d", t.bos, o.bos)
	}
	return ""
}

func (t *Tokenizer) classOf(id int) class {
	if id >= len(t.class) {
		return hole
	}
	return t.class[id]
}

// addedTexts are the texts of the added tokens by their ids.
func (t *Tokenizer) addedTexts() map[int]string {
	out := map[int]string{}
	for _, set := range []*addedSet{&t.raw, &t.normalized} {
		for _, a := range set.tokens {
			out[a.id] = a.text
		}
	}
	return out
}
