package main

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mop/runtime/engine"
	"mop/runtime/server"
)

func serveCommand(o *options) *cobra.Command {
	var s server.Options
	var e engine.Options
	var host, template, memory string
	var names []string
	var port int
	var d draftFlags
	c := &cobra.Command{
		Use:     "serve DIR [DIR...]",
		Short:   "Serve models over HTTP with the OpenAI API",
		Long:    "Serve models over HTTP with the OpenAI API: completions, chats, tokenization, metrics.\nSequences of all clients run together in one batch. SIGTERM lets those that run finish.",
		Example: "  mop serve ./model\n  mop serve ./dense ./pruned --port 8000 --max-batch 8\n  mop serve ./dense --draft ./pruned\n  curl localhost:8000/v1/completions -d '{\"prompt\": \"Once upon a time\", \"max_tokens\": 20}'",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("serve: want at least one model directory, got none")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := server.CheckAddress(host, s.APIKey); err != nil {
				return usage("--%v", err)
			}
			if port < 0 || port > 65535 {
				return usage("--port: want 0 to 65535, got %d", port)
			}
			if s.DrainTimeout <= 0 { // 0 is the default of server.Options
				return usage("--drain: want more than 0, got %v", s.DrainTimeout)
			}
			var err error
			if e.CacheBytes, err = parseBytes(memory); err != nil {
				return usage("--kv-memory: %v", err)
			}
			specs, err := specsOf(args, names)
			if err != nil {
				return err
			}
			if err := d.check(); err != nil {
				return err
			}
			if d.dir != "" && len(specs) > 1 {
				return usage("serve: --draft: want one model, got %d", len(specs))
			}
			for i := range specs {
				specs[i].Draft, specs[i].DraftTokens = d.dir, d.tokens
				specs[i].Weights, specs[i].Engine, specs[i].Chat = o.weights, e, template
			}
			if e.MaxBatch < 1 || e.MaxContext < 0 || e.StepTokens < 0 || e.QueueLimit < 0 || e.Prefixes < 0 {
				return usage("serve: want --max-batch of at least 1, and --max-context, --step-tokens, --queue and --prefix-cache of at least 0")
			}
			for _, spec := range specs {
				if err := spec.Check(); err != nil {
					return err
				}
			}
			dev, err := o.open()
			if err != nil {
				return err
			}
			defer dev.Close()
			l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			if err != nil {
				return err
			}
			slog.Info("listening", "address", "http://"+l.Addr().String())
			var models []*server.Model
			defer func() {
				for _, m := range models {
					m.Close()
				}
			}()
			return server.New(s).Serve(c.Context(), l, func() ([]*server.Model, error) {
				for _, spec := range specs {
					start := time.Now()
					m, err := server.Load(dev, spec)
					if err != nil {
						return nil, err
					}
					models = append(models, m)
					stats := m.Engine.Stats()
					slog.Info("serving", "model", m.Name, "load", time.Since(start).Round(time.Millisecond), "batch", stats.Slots, "context", stats.MaxContext, "pages", stats.Pages)
				}
				return models, nil
			})
		},
	}
	o.generateFlags(c)
	f := c.Flags()
	d.register(f)
	f.StringVar(&host, "host", "127.0.0.1", "address to listen on; any but a loopback address needs --api-key")
	f.IntVar(&port, "port", 8000, "port to listen on, 0 = any free one")
	f.StringVar(&s.APIKey, "api-key", "", "key that clients must send as Authorization: Bearer KEY")
	f.StringSliceVar(&names, "served-model-name", nil, "names of the models for clients, in their order; default: the names of their directories")
	f.IntVar(&e.MaxBatch, "max-batch", 16, "sequences that run at a time, for each model")
	f.IntVar(&e.MaxContext, "max-context", 0, "most positions of a sequence, prompt included, 0 = the model's own limit")
	f.StringVar(&memory, "kv-memory", "0", "memory of each model's KV cache, such as 512M or 4G, 0 = enough for --max-batch sequences of --max-context positions")
	f.IntVar(&e.QueueLimit, "queue", 0, "sequences that may wait; further ones get status 429, 0 = 16 times --max-batch")
	f.IntVar(&e.StepTokens, "step-tokens", 0, "tokens that a step computes; fewer make waiting shorter while others' prompts are computed, 0 = what suits the device")
	f.IntVar(&e.Prefixes, "prefix-cache", 0, "beginnings of prompts that are kept, so that later requests that begin the same way do not compute them again, 0 = none")
	f.StringVar(&template, "chat-template", "", "chat template: a file, or the name of a built-in one; default: the checkpoint's own")
	f.DurationVar(&s.DrainTimeout, "drain", 30*time.Second, "time that running requests may take to finish after SIGTERM")
	return c
}

// specsOf gives a model's name for each directory.
func specsOf(dirs, names []string) ([]server.Spec, error) {
	if len(names) > len(dirs) {
		return nil, usage("--served-model-name: want at most %d names, got %d", len(dirs), len(names))
	}
	var specs []server.Spec
	used := map[string]bool{}
	for i, dir := range dirs {
		name := ""
		if i < len(names) {
			name = names[i]
		} else if full, err := filepath.Abs(dir); err == nil {
			name = filepath.Base(full)
		}
		if name == "" || used[name] {
			return nil, usage("serve: want a different name for each model, got %q again: see --served-model-name", name)
		}
		used[name] = true
		specs = append(specs, server.Spec{Name: name, Dir: dir})
	}
	return specs, nil
}

// parseBytes reads a number of bytes with an optional unit K, M, G or T of powers of 1024.
func parseBytes(text string) (int64, error) {
	number, shift := text, 0
	if i := strings.IndexAny("KMGT", strings.ToUpper(text[max(len(text)-1, 0):])); i >= 0 && text != "" {
		number, shift = text[:len(text)-1], 10*(i+1)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("want a number of bytes such as 1073741824, 512M or 4G, got %q", text)
	}
	return n << shift, nil
}
