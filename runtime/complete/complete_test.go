package complete

import (
	"errors"
	"testing"

	"mop/runtime/tokenizer"
)

const demoModel = "../../bench/demo/model"

// The text of special tokens gives these tokens only on request.
func TestEncodeSpecialTokens(t *testing.T) {
	tok, err := tokenizer.Open(demoModel)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("<s>a")
	special, err := Encode(tok, text, true)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Encode(tok, text, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(special) < 3 || special[0] != tok.BOS() || special[1] != tok.BOS() || len(plain) <= len(special) || plain[1] == tok.BOS() {
		t.Errorf("want two BOS with special tokens and one without, got %v and %v", special, plain)
	}
	if empty, err := Encode(tok, nil, false); err != nil && !errors.Is(err, ErrEmpty) || err == nil && len(empty) != 1 {
		t.Errorf("an empty prompt: want BOS, got %v, %v", empty, err)
	}
}
