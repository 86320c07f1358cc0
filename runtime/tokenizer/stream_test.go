package tokenizer

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func parseFile(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := Parse(testFile(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return tok
}

// The tokenizers of testdata in which each byte has an id.
var withBytes = []string{"fallback.model", "fallback.bin", "legacy.json", "first.json", "bytelevel.json", "prefixed.json", "tiktoken.model"}

// Each part that a stream returns ends at the end of a character, unless its bytes can
// never become one. All parts together are what Decode returns.
func TestStream(t *testing.T) {
	for _, name := range withBytes {
		tok := parseFile(t, name)
		for _, text := range append(readGolden(t).Texts, "a\xff\xfe", "\xe2\x82", "\xf0\x9f\x98", "\xe2\x28\xa1 x", "\xc3\xc3\xa9") {
			ids, err := tok.Encode([]byte(text), EncodeOptions{BOS: true})
			if err != nil {
				t.Fatal(err)
			}
			want, err := tok.Decode(ids)
			if err != nil {
				t.Fatal(err)
			}
			s := tok.Stream(-1)
			var got []byte
			for _, id := range ids {
				part, err := s.Push(id)
				if err != nil {
					t.Fatal(err)
				}
				if n := whole(part); n < len(part) {
					t.Errorf("%s: %q: part %q ends within a character", name, text, part)
				}
				if utf8.ValidString(text) && !utf8.Valid(part) {
					t.Errorf("%s: %q: part %q is no text", name, text, part)
				}
				got = append(got, part...)
			}
			if rest := s.Flush(); utf8.ValidString(text) && len(rest) > 0 {
				t.Errorf("%s: %q: %q is left", name, text, rest)
			} else {
				got = append(got, rest...)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s: stream %q, decode %q", name, got, want)
			}
		}
	}
}

// A continuation keeps the space with which its first piece begins; the beginning of a
// text does not.
func TestStreamAfter(t *testing.T) {
	for _, name := range []string{"fallback.model", "fallback.bin", "legacy.json", "first.json"} {
		tok := parseFile(t, name)
		ids, err := tok.Encode([]byte("the cat"), EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		last := ids[len(ids)-1]
		for _, c := range []struct {
			after int
			want  string
		}{{-1, "the cat"}, {tok.BOS(), "the cat"}, {last, " the cat"}} {
			s := tok.Stream(c.after)
			var got []byte
			for _, id := range ids {
				part, err := s.Push(id)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, part...)
			}
			if string(got) != c.want {
				t.Errorf("%s: after %d: want %q, got %q", name, c.after, c.want, got)
			}
		}
		if _, err := tok.Stream(-1).Push(tok.Vocab()); err == nil {
			t.Errorf("%s: id %d is accepted", name, tok.Vocab())
		}
	}
}

// The bytes of an emoji, one id each, are returned together. A byte that cannot continue
// a character releases the bytes that were held.
func TestStreamHoldsIncompleteCharacters(t *testing.T) {
	tok := parseFile(t, "legacy.json")
	id := func(b byte) int { return int(tok.model.raw[b]) }
	s := tok.Stream(0)
	for _, step := range []struct {
		b    byte
		want string
	}{{0xf0, ""}, {0x9f, ""}, {0x98, ""}, {0x80, "😀"}, {0xe2, ""}, {0x82, ""}, {'A', "\xe2\x82A"}, {0xff, "\xff"}, {0xc3, ""}, {0xc3, "\xc3"}, {0xa9, "é"}, {0xe2, ""}} {
		got, err := s.Push(id(step.b))
		if err != nil || string(got) != step.want {
			t.Errorf("byte 0x%02x: want %q, got %q, %v", step.b, step.want, got, err)
		}
	}
	if rest := s.Flush(); string(rest) != "\xe2" {
		t.Errorf("left: %q", rest)
	}
}

// roundTrip is the result of decoding the ids of a text, where each byte has an id: the
// text, except for what encoding does to spaces at its beginning.
func roundTrip(name, text string) string {
	switch name {
	case "prefixed.json": // a space is put in front unless there is one, and stays
		if text != "" && text[0] != ' ' {
			return " " + text
		}
	case "first.json": // a space is put in front unless there is one, and one is removed
		text = strings.ReplaceAll(text, meta, " ")
		if strings.HasPrefix(text, " ") {
			return text[1:]
		}
	case "fallback.model", "legacy.json":
		return strings.ReplaceAll(text, meta, " ")
	}
	return text
}

// Bytes that are not valid UTF-8 give the ids of bytes, and decode to themselves.
func TestInvalidUTF8(t *testing.T) {
	tok := parseFile(t, "fallback.model")
	ids, err := tok.Encode([]byte("a\xffb\xe2\x82"), EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bytesAt := 0
	for _, id := range ids {
		if tok.class[id] == byteKind {
			bytesAt++
		}
	}
	if back, err := tok.Decode(ids); err != nil || string(back) != "a\xffb\xe2\x82" || bytesAt != 3 {
		t.Errorf("ids %v with %d bytes, back %q, %v", ids, bytesAt, back, err)
	}
}
