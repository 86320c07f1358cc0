package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mop/internal/files"
	"mop/runtime/chat"
	"mop/runtime/complete"
	"mop/runtime/generate"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

func runCommand(o *options) *cobra.Command {
	var dir, prompt, file, template, system string
	var stops, images []string
	var stats, special, talk bool
	var g generate.Options
	var d draftFlags
	c := &cobra.Command{
		Use:     "run --model DIR --prompt TEXT",
		Short:   "Continue a text",
		Example: "  mop run --model ./model --prompt 'Once upon a time' --max-tokens 100\n  mop run --model ./model --prompt '' --temperature 0.8 --top-p 0.9 --seed 7\n  mop run --model ./model --prompt-file story.txt --stats\n  mop run --model ./model --chat\n  mop run --model ./llava-1.5-7b-hf --image dog.jpg --prompt 'What is in this picture?'",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model"); err != nil {
				return err
			}
			g.Seed = o.seed
			if err := d.check(); err != nil {
				return err
			}
			if d.dir != "" && len(images) > 0 {
				return usage("run: --draft: want texts only, got --image")
			}
			if err := checkGenerate(g); err != nil {
				return err
			}
			if slices.Contains(stops, "") {
				return usage("--stop: want a text, got an empty one")
			}
			if c.Flags().Changed("prompt") && file != "" {
				return usage("run: want --prompt or --prompt-file, got both")
			}
			if talk {
				if c.Flags().Changed("prompt") || file != "" || stats || len(images) > 0 {
					return usage("run: --chat reads messages from stdin: want no --prompt, --prompt-file, --image and --stats")
				}
				return o.chat(c, dir, template, system, d, g, stops)
			}
			if template != "" || system != "" {
				return usage("run: --chat-template and --system are for --chat")
			}
			text := []byte(prompt)
			if file != "" {
				var err error
				if text, err = readPrompt(c.InOrStdin(), file); err != nil {
					return err
				}
			}
			pictures, err := readImages(dir, text, images)
			if err != nil {
				return err
			}
			t, err := tokenizer.Open(dir)
			if err != nil {
				return err
			}
			tokens, err := complete.Encode(t, text, special)
			if err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			m, closeModel, err := o.load(dir)
			if err != nil {
				return err
			}
			defer closeModel()
			if pictures != nil {
				in, err := encodeImages(m, string(text), pictures)
				if err != nil {
					return err
				}
				tokens, g.Embeddings = in.Tokens, [][]model.Embeddings{in.Embeddings}
			}
			draft, err := d.load(m, o)
			if err != nil {
				return err
			}
			defer closeDraft(draft)
			out := c.OutOrStdout()
			completer := complete.Completer{Tokenizer: t, Model: m, Draft: draft}
			throughput, err := completer.Continue(c.Context(), tokens, g, &generate.StopFilter{W: out, Stops: stops})
			if err != nil {
				return err
			}
			if onTerminal(out) {
				fmt.Fprintln(out)
			}
			if stats {
				fmt.Fprint(c.ErrOrStderr(), throughput)
				if draft != nil {
					fmt.Fprintln(c.ErrOrStderr(), draft)
				}
			}
			return nil
		},
	}
	o.generateFlags(c)
	f := c.Flags()
	f.StringVar(&dir, "model", "", "model directory")
	f.StringVar(&prompt, "prompt", "", "text to continue; empty = BOS alone")
	f.StringVar(&file, "prompt-file", "", "file with the text to continue, - for stdin; a newline at its end is removed")
	d.register(f)
	f.BoolVar(&talk, "chat", false, "chat: each line of stdin is a message that the model answers, by its chat template")
	f.StringVar(&system, "system", "", "system message of --chat")
	f.StringVar(&template, "chat-template", "", "chat template of --chat: a file, or a built-in one: "+strings.Join(chat.Builtins(), ", ")+"; default: the checkpoint's own")
	f.StringArrayVar(&images, "image", nil, "JPEG or PNG file that the prompt is about; may be given several times; the prompt then follows the model's chat template, with the images first or where it says <image>")
	f.BoolVar(&special, "special", false, "parse the text of special tokens, such as <|im_start|>, as these tokens")
	f.BoolVar(&stats, "stats", false, "print the numbers of tokens and the throughput on stderr")
	f.IntVar(&g.MaxTokens, "max-tokens", 128, "largest number of tokens to generate")
	f.Float64Var(&g.Temperature, "temperature", 0, "sampling temperature; 0 = always the argmax token")
	f.IntVar(&g.TopK, "top-k", 0, "sample from the k most probable tokens, 0 = all")
	f.Float64Var(&g.TopP, "top-p", 1, "sample from the smallest set of tokens that has this probability")
	f.Float64Var(&g.MinP, "min-p", 0, "sample from tokens with at least this share of the most probable token's probability")
	f.Float64Var(&g.RepetitionPenalty, "repetition-penalty", 1, "values above 1 make tokens that occurred before less probable")
	f.BoolVar(&g.IgnoreEOS, "ignore-eos", false, "always generate --max-tokens tokens")
	f.StringArrayVar(&stops, "stop", nil, "end before this text; may be given several times")
	return c
}

// chat answers messages from stdin.
func (o *options) chat(c *cobra.Command, dir, template, system string, d draftFlags, g generate.Options, stops []string) error {
	t, err := tokenizer.Open(dir)
	if err != nil {
		return err
	}
	v := &complete.Conversation{System: system, Options: g, Stops: stops}
	if v.Template, err = openTemplate(template, dir); err != nil {
		return err
	}
	m, closeModel, err := o.load(dir)
	if err != nil {
		return err
	}
	defer closeModel()
	draft, err := d.load(m, o)
	if err != nil {
		return err
	}
	defer closeDraft(draft)
	v.Completer = complete.Completer{Tokenizer: t, Model: m, Draft: draft}
	return converse(c, v)
}

func checkGenerate(g generate.Options) error {
	if err := g.Check(); err != nil {
		return usage("%v", err)
	}
	switch {
	case g.MaxTokens < 0:
		return usage("--max-tokens: want 0 or more, got %d", g.MaxTokens)
	case g.TopP == 0:
		return usage("--top-p: want a value in (0, 1], got 0")
	case g.RepetitionPenalty == 0:
		return usage("--repetition-penalty: want a value above 0, got 0")
	}
	return nil
}

// readPrompt reads a prompt from a file, or from stdin if the file is "-". It removes the
// newline at the end of the last line, which editors add.
func readPrompt(stdin io.Reader, file string) (text []byte, err error) {
	const limit = 1 << 28 // bytes
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(stdin, limit))
	} else {
		text, err = files.Read(file, limit)
	}
	if line, ok := bytes.CutSuffix(text, []byte("\n")); ok {
		text = bytes.TrimSuffix(line, []byte("\r"))
	}
	return text, err
}
