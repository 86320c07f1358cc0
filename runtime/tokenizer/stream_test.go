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

// Each part that a stream gives out ends where a character ends, unless it can
// never become one; all parts together are what Decode gives.
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

// A continuation keeps the space that its first piece begins with; a beginning
// does not.
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

// The bytes of an emoji, one id each, come out together; a byte that breaks a
// character off lets what was held go.
func TestStreamHolds(t *testing.T) {
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

// roundTrip is what decoding the ids of a text gives, where each byte has an id:
// the text itself, up to what encoding does to spaces at its beginning.
func roundTrip(name, text string) string {
	switch name {
	case "prefixed.json": // a space goes in front unless one is there, and stays
		if text != "" && text[0] != ' ' {
			return " " + text
		}
	case "first.json": // a space goes in front unless one is there, and one is taken away
		text = strings.ReplaceAll(text, meta, " ")
		if strings.HasPrefix(text, " ") {
			return text[1:]
		}
	case "fallback.model", "legacy.json":
		return strings.ReplaceAll(text, meta, " ")
	}
	return text
}

// Bytes that are no text give the ids of bytes, and come back.
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
