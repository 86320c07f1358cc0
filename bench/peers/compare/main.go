// Command compare lets programs take turns on one machine and writes the ratios of their
// figures, pair by pair. It reads a suite (JSON: commands, ratios, goals), and writes a
// JSON file with every single run and a Markdown summary.
//
//	go run ./bench/peers/compare -suite FILE -out NAME [-only NAME] [-pairs 7] [-set NAME=VALUE]...
//
// If NAME.json exists, the new pairs are added to those in it, so that a long comparison
// can be divided into several calls.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"mop/bench/hardware"
	"mop/internal/machine"
)

// Result is NAME.json.
type Result struct {
	Suite    Suite                `json:"suite"`
	Machine  machine.Info         `json:"machine"`
	ISAs     []string             `json:"isas"`
	Go       string               `json:"go"`
	Settings map[string]string    `json:"settings,omitempty"` // build flags and the like, given by -about
	Dates    []string             `json:"dates"`              // of each call, RFC 3339
	Readings map[string][]Reading `json:"readings"`           // by comparison
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], shell, os.Stdout); err != nil {
		slog.Error("compare", "error", err)
		os.Exit(1)
	}
}

// settings is a flag NAME=VALUE that may be given several times.
type settings map[string]string

func (s settings) String() string { return "" }
func (s settings) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return errors.New("want NAME=VALUE")
	}
	s[name] = value
	return nil
}

func run(ctx context.Context, args []string, do execute, stdout io.Writer) error {
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	suiteFile := f.String("suite", "", "what to compare")
	out := f.String("out", "", "results go to NAME.json and NAME.md")
	only := f.String("only", "", "only comparisons whose names begin with this")
	pairs := f.Int("pairs", 7, "undisturbed pairs to add")
	set, about := settings{}, settings{}
	f.Var(set, "set", "NAME=VALUE for ${NAME} in commands; not stored")
	f.Var(about, "about", "NAME=VALUE to store with the results")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *suiteFile == "" || *out == "" || f.NArg() > 0 || *pairs < 0 {
		return errors.New("want -suite FILE -out NAME, and pairs of 0 or more")
	}
	suite, err := loadSuite(*suiteFile)
	if err != nil {
		return err
	}
	info := machine.Describe()
	r := Result{Readings: map[string][]Reading{}, Settings: map[string]string{}}
	if data, err := os.ReadFile(*out + ".json"); err == nil {
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("%s.json: %w", *out, err)
		}
		if r.Machine != info {
			return fmt.Errorf("%s.json: measured on another machine, %+v", *out, r.Machine)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.Suite, r.Machine, r.ISAs, r.Go = *suite, info, hardware.ISAs(), runtime.Version()
	if *pairs > 0 { // none: the tables are written again
		r.Dates = append(r.Dates, time.Now().UTC().Format(time.RFC3339))
	}
	for name, value := range about {
		r.Settings[name] = value
	}
	for _, c := range suite.Comparison {
		if !strings.HasPrefix(c.Name, *only) {
			continue
		}
		first := 0
		for _, x := range r.Readings[c.Name] {
			first = max(first, x.Pair+1)
		}
		readings, failed := measure(ctx, c, set, first, *pairs, do, func(x Reading) {
			slog.Info(c.Name, "pair", x.Pair, "side", x.Side, "value", figure(x.Value), "others", figure(x.OtherLoad), "disk", x.DiskBytes)
		})
		if err := sameBuilds(append(r.Readings[c.Name], readings...)); err != nil {
			return fmt.Errorf("%s: %s: %w", *out, c.Name, err)
		}
		// Runs that ended before a failure or an interrupt count.
		r.Readings[c.Name] = append(r.Readings[c.Name], readings...)
		if err := r.write(*out); err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
	}
	if err := r.write(*out); err != nil {
		return err
	}
	_, err = io.WriteString(stdout, r.markdown())
	return err
}

// write replaces NAME.json and NAME.md.
func (r *Result) write(out string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
		return err
	}
	if err := renameio.WriteFile(out+".json", append(data, '\n'), 0o644); err != nil {
		return err
	}
	return renameio.WriteFile(out+".md", []byte(r.markdown()), 0o644)
}
