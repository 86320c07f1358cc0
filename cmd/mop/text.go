package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mop/internal/files"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

func tokenizeCommand(*options) *cobra.Command {
	var dir string
	var noBOS, special, decode bool
	c := &cobra.Command{
		Use:     "tokenize --model DIR < text",
		Short:   "Turn text on stdin into ids, or back",
		Example: "  printf 'Once upon a time' | mop tokenize --model ./model\n  echo '[1, 403]' | mop tokenize --model ./model --decode",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model"); err != nil {
				return err
			}
			t, err := tokenizer.Open(dir)
			if err != nil {
				return err
			}
			in, err := io.ReadAll(c.InOrStdin())
			if err != nil {
				return err
			}
			w := c.OutOrStdout()
			if decode {
				var ids []int
				if err := json.Unmarshal(in, &ids); err != nil {
					return fmt.Errorf("stdin: want a JSON array of ids: %w", err)
				}
				if ids == nil {
					return fmt.Errorf("stdin: want a JSON array of ids, got %s", bytes.TrimSpace(in))
				}
				text, err := t.Decode(ids)
				if err != nil {
					return fmt.Errorf("%s: %w", dir, err)
				}
				_, err = w.Write(text)
				return err
			}
			ids, err := t.Encode(in, tokenizer.EncodeOptions{BOS: !noBOS, Special: special})
			if err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			if ids == nil {
				ids = []int{}
			}
			return json.NewEncoder(w).Encode(ids)
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "model", "", "directory with a tokenizer")
	f.BoolVar(&noBOS, "no-bos", false, "do not begin with BOS")
	f.BoolVar(&special, "special", false, "the text of special tokens gives their ids")
	f.BoolVar(&decode, "decode", false, "ids to text: stdin is a JSON array")
	return c
}

func logitsCommand(o *options) *cobra.Command {
	var dir, idText string
	var asJSON bool
	c := &cobra.Command{
		Use:     "logits --model DIR --ids 1,2,3",
		Short:   "Print the logits after each id",
		Example: "  mop logits --model ./model --ids 1,403,9 --json",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "ids"); err != nil {
				return err
			}
			ids, err := parseIDs(idText)
			if err != nil {
				return err
			}
			m, err := o.load(dir)
			if err != nil {
				return err
			}
			defer m.close()
			cache, err := kvcache.New(m.Device(), m.Config, 1, min(len(ids), m.Config.MaxPositions))
			if err != nil {
				return err
			}
			if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Seq: 0, Tokens: ids}}}); err != nil {
				return m.fail(err)
			}
			rows := make([]int, len(ids))
			for i := range rows {
				rows[i] = i
			}
			w := bufio.NewWriter(c.OutOrStdout())
			separator := "["
			if err := m.Logits(rows, func(i int, z []float32) error {
				for id, v := range z {
					if v-v != 0 {
						return m.fail(fmt.Errorf("position %d: id %d: %w", i, id, generate.ErrNotFinite))
					}
				}
				if !asJSON {
					best := 0
					for id := range z {
						if z[id] > z[best] {
							best = id
						}
					}
					_, err := fmt.Fprintf(w, "%d: likeliest next id %d, logit %g\n", i, best, z[best])
					return err
				}
				text, err := json.Marshal(z)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(w, "%s%s", separator, text)
				separator = ","
				return err
			}); err != nil {
				return err
			}
			if asJSON {
				fmt.Fprintln(w, "]")
			}
			return w.Flush()
		},
	}
	o.weightsFlags(c)
	f := c.Flags()
	f.StringVar(&dir, "model", "", "model directory")
	f.StringVar(&idText, "ids", "", "ids with commas between, taken as they are")
	f.BoolVar(&asJSON, "json", false, "print all logits, [T][V]")
	return c
}

func runCommand(o *options) *cobra.Command {
	var dir, prompt, file string
	var stops []string
	var stats bool
	var g generate.Options
	c := &cobra.Command{
		Use:     "run --model DIR --prompt TEXT",
		Short:   "Continue a text",
		Example: "  mop run --model ./model --prompt 'Once upon a time' --max-tokens 100\n  mop run --model ./model --prompt '' --temperature 0.8 --top-p 0.9 --seed 7\n  mop run --model ./model --prompt-file story.txt --stats",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model"); err != nil {
				return err
			}
			g.Seed = o.seed
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
			if c.Flags().Changed("prompt") && file != "" {
				return usage("run: want --prompt or --prompt-file, got both")
			}
			t, err := tokenizer.Open(dir)
			if err != nil {
				return err
			}
			text := []byte(prompt)
			if file != "" {
				if text, err = promptOf(c, file); err != nil {
					return err
				}
			}
			ids, err := t.Encode(text, tokenizer.EncodeOptions{BOS: true})
			if err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			if len(ids) == 0 {
				return fmt.Errorf("%s: an empty prompt needs a BOS id, and the tokenizer has none", dir)
			}
			m, err := o.load(dir)
			if err != nil {
				return err
			}
			defer m.close()
			if len(ids) > m.Config.MaxPositions {
				return m.fail(fmt.Errorf("prompt of %d tokens: %w of %d", len(ids), model.ErrContext, m.Config.MaxPositions))
			}
			// The last id that is drawn needs no position of its own.
			room := m.Config.MaxPositions - len(ids) + 1
			short := g.MaxTokens > room
			if short && g.IgnoreEOS {
				return m.fail(fmt.Errorf("prompt of %d tokens and %d more: %w of %d", len(ids), g.MaxTokens, model.ErrContext, m.Config.MaxPositions))
			}
			g.MaxTokens = min(g.MaxTokens, room)
			if err := cacheFits(m.Device(), m.Config, 1, min(len(ids)+g.MaxTokens, m.Config.MaxPositions)); err != nil {
				return m.fail(err)
			}
			cache, err := kvcache.New(m.Device(), m.Config, 1, min(len(ids)+g.MaxTokens, m.Config.MaxPositions))
			if err != nil {
				return m.fail(err)
			}
			out := c.OutOrStdout()
			s := t.Stream(ids[len(ids)-1])
			written := &stopFilter{stops: stops, w: out}
			var failed error
			emitted := 0
			clock := throughput{start: time.Now(), prompt: len(ids)}
			err = generate.Run(c.Context(), m.Model, cache, [][]int{ids}, g, func(_, ids []int) []int {
				emitted++
				clock.tick()
				var b []byte
				var err error
				if t.Has(ids[0]) { // a vocabulary may be padded with rows that no piece has
					b, err = s.Push(ids[0])
				}
				if err == nil {
					err = written.write(b)
				}
				if failed = err; err != nil || written.stopped {
					return []int{0}
				}
				return nil
			})
			if err != nil {
				return m.fail(err)
			}
			if err = failed; err == nil {
				err = written.finish(s.Flush())
			}
			if short && emitted == room && !written.stopped {
				slog.Warn("the context is full", "tokens", m.Config.MaxPositions)
			}
			if onTerminal(out) {
				fmt.Fprintln(out)
			}
			if stats && err == nil {
				fmt.Fprint(c.ErrOrStderr(), clock)
			}
			return err
		},
	}
	o.weightsFlags(c)
	f := c.Flags()
	f.StringVar(&dir, "model", "", "model directory")
	f.StringVar(&prompt, "prompt", "", "text to continue; empty = BOS alone")
	f.StringVar(&file, "prompt-file", "", "file with the text to continue, - for stdin; a line's end at its end is left out")
	f.BoolVar(&stats, "stats", false, "tell on stderr how many ids came and went, and how fast")
	f.IntVar(&g.MaxTokens, "max-tokens", 128, "ids to generate at most")
	f.Float64Var(&g.Temperature, "temperature", 0, "0 = always the likeliest id")
	f.IntVar(&g.TopK, "top-k", 0, "draw from the k likeliest ids, 0 = all")
	f.Float64Var(&g.TopP, "top-p", 1, "draw from the smallest set of this probability")
	f.Float64Var(&g.MinP, "min-p", 0, "draw from ids of at least this share of the likeliest one's probability")
	f.Float64Var(&g.RepetitionPenalty, "repetition-penalty", 1, "above 1: ids seen already become less likely")
	f.BoolVar(&g.IgnoreEOS, "ignore-eos", false, "always generate --max-tokens ids")
	f.StringArrayVar(&stops, "stop", nil, "end before this text; may be given several times")
	return c
}

// promptOf reads a prompt, without the end of its last line, which editors put there.
func promptOf(c *cobra.Command, file string) (text []byte, err error) {
	const limit = 1 << 28 // bytes
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(c.InOrStdin(), limit))
	} else {
		text, err = files.Read(file, limit)
	}
	if line, ok := bytes.CutSuffix(text, []byte("\n")); ok {
		text = bytes.TrimSuffix(line, []byte("\r"))
	}
	return text, err
}

// throughput is how fast ids came.
type throughput struct {
	start, first, last time.Time
	prompt, ids        int
}

func (p *throughput) tick() {
	p.last = time.Now()
	if p.ids++; p.ids == 1 {
		p.first = p.last
	}
}

// String is a line for the prompt, whose time ends with the first id, and one for the
// ids after it.
func (p throughput) String() string {
	if p.ids == 0 {
		return fmt.Sprintf("prompt: %d ids; generated: none\n", p.prompt)
	}
	line := func(what string, ids, timed int, d time.Duration) string {
		if timed == 0 || d <= 0 {
			return fmt.Sprintf("%s: %d ids\n", what, ids)
		}
		return fmt.Sprintf("%s: %d ids, %.1f ids/s\n", what, ids, float64(timed)/d.Seconds())
	}
	return line("prompt", p.prompt, p.prompt, p.first.Sub(p.start)) + line("generated", p.ids, p.ids-1, p.last.Sub(p.first))
}

// stopFilter writes text up to the first stop string; what may be the beginning of
// one is held back.
type stopFilter struct {
	stops   []string
	w       io.Writer
	held    string
	stopped bool
}

func (s *stopFilter) write(b []byte) error {
	s.held += string(b)
	// The one that is complete first counts, of several the longest: so the parts
	// that the text comes in make no difference.
	start, end := 0, -1
	for _, stop := range s.stops {
		i := strings.Index(s.held, stop)
		if n := i + len(stop); stop != "" && i >= 0 && (end < 0 || n < end || n == end && i < start) {
			start, end = i, n
		}
	}
	if end >= 0 {
		s.held, s.stopped = s.held[:start], true
		return s.finish(nil)
	}
	keep := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(s.held)); n > keep; n-- {
			if strings.HasSuffix(s.held, stop[:n]) {
				keep = n
			}
		}
	}
	_, err := io.WriteString(s.w, s.held[:len(s.held)-keep])
	s.held = s.held[len(s.held)-keep:]
	return err
}

func (s *stopFilter) finish(b []byte) error {
	if !s.stopped {
		s.held += string(b)
	}
	_, err := io.WriteString(s.w, s.held)
	s.held = ""
	return err
}
