package tasks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"mop/bench/tasks/zeroshot"
	"mop/runtime/chat"
	"mop/runtime/dataset"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

// autoBOS lets the tokenizer decide whether windows begin with BOS.
const autoBOS = "auto"

// textFlags say how a text is divided into windows.
type textFlags struct {
	text, split            string
	context, stride, limit int
	special                bool
	template               string
	wantBOS                string // auto, on or off

	bos  string // of the windows, once they are cut: on or off
	step int    // tokens from one to the next
}

func (t *textFlags) register(f *pflag.FlagSet) {
	f.StringVar(&t.text, "text", "", "text: each row of JSON or JSON lines is a document, any other file is one document")
	f.StringVar(&t.split, "split", "", "text between the file's documents")
	f.IntVar(&t.context, "context", 0, "tokens in a window, BOS included; 0 = the smaller of 2048 and the model's maximum")
	f.IntVar(&t.stride, "stride", 0, "tokens from the start of one window to that of the next; 0 = no overlap")
	f.IntVar(&t.limit, "max-tokens-per-document", 0, "score only this many tokens of each document; 0 = all")
	f.StringVar(&t.wantBOS, "bos", autoBOS, "whether windows begin with BOS: on, off, or auto: where the tokenizer has one. Without it the first token of a window is context, as in papers that cut one stream of tokens")
	f.BoolVar(&t.special, "special", false, "parse the text of special tokens in the text, such as <|im_start|>, as these tokens")
	f.StringVar(&t.template, "chat-template", "", "template for rows of messages: "+strings.Join(chat.Builtins(), ", ")+", or a file; default: the model's own")
}

// check refuses flags that are wrong for every model and text.
func (t *textFlags) check() error {
	switch {
	case !slices.Contains(zeroshot.BOSStates, t.wantBOS):
		return fmt.Errorf("--bos: want one of %s, got %q", strings.Join(zeroshot.BOSStates, ", "), t.wantBOS)
	case t.limit < 0:
		return fmt.Errorf("--max-tokens-per-document: want 0 or more, got %d", t.limit)
	case t.context != 0 && t.context < 2:
		return fmt.Errorf("--context: want at least 2 tokens, got %d", t.context)
	case t.stride < 0 || t.context > 0 && t.stride > t.context:
		return fmt.Errorf("--stride: want 0, or at most the tokens of a window, got %d", t.stride)
	}
	return nil
}

// windows tokenizes the text with the model's tokenizer and cuts it.
func (t *textFlags) windows(m *open.Model) ([]dataset.Window, error) {
	tok, err := tokenizer.Open(m.Name)
	if err != nil {
		return nil, err
	}
	context, err := t.contextLength(m, min(2048, m.Config.MaxPositions))
	if err != nil {
		return nil, err
	}
	switch {
	case t.wantBOS == "off":
		tok = tok.WithoutBOS()
	case t.wantBOS == "on" && tok.BOS() < 0:
		return nil, fmt.Errorf("%s: --bos on: its tokenizer has no BOS token: leave --bos out", m.Name)
	}
	t.bos, t.step = "on", context-1
	if tok.BOS() < 0 {
		t.bos, t.step = "off", context
	}
	if t.stride > 0 {
		t.step = t.stride
	}
	f := dataset.File{Path: t.text, Separator: t.split, Special: t.special, Template: chat.Opener(t.template, m.Name)}
	return dataset.WindowsOfFile(tok, f, context, t.stride, t.limit)
}

// contextLength is the length of a window: that of the flag, or a default.
func (t *textFlags) contextLength(m *open.Model, byDefault int) (int, error) {
	context := t.context
	if context == 0 {
		context = byDefault
	}
	if context < 2 || context > m.Config.MaxPositions {
		return 0, fmt.Errorf("%s: context: want 2 to %d tokens, the model's maximum, got %d", m.Name, m.Config.MaxPositions, context)
	}
	return context, nil
}
