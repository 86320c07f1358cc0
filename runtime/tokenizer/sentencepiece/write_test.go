package sentencepiece

import (
	"reflect"
	"testing"
)

// A model that is written reads back the same.
func TestMarshal(t *testing.T) {
	for _, m := range []*Model{
		{Type: BPE, ByteFallback: true, UnknownSurface: " \u2047 ", BOS: "<s>", EOS: "</s>", AddDummyPrefix: true, EscapeWhitespaces: true,
			Pieces: []Piece{{"<unk>", 0, Unknown}, {"<s>", 0, Control}, {"</s>", 0, Control}, {"<0x00>", 0, Byte}, {"▁a", -1, Normal}, {"x", -1e9, Unused}}},
		{Type: Unigram, UnknownSurface: "?", RemoveExtraWhitespaces: true, TreatWhitespaceAsSuffix: true, CharsMap: []byte{4, 0, 0, 0, 1, 2, 3, 4, 0}, Pieces: []Piece{{"u", 1.5, UserDefined}}},
		{},
	} {
		if got, err := Read(Marshal(m)); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("want %+v, got %+v, %v", m, got, err)
		}
	}
}
