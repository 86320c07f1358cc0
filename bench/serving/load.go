// Package serving measures models behind the OpenAI API under load, with AIPerf's
// definitions. A closed loop keeps a number of requests under way; an open loop sends them at
// random times of a mean rate, whether the earlier ones are answered or not. The models take
// turns, in a new order every round, so that drift of the machine affects all alike.
package serving

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Length is a number of tokens: fixed, or normally distributed.
type Length struct{ Mean, SD float64 }

// ParseLength reads "128", or "128:32" for a mean and a standard deviation.
func ParseLength(text string) (Length, error) {
	mean, sd, sampled := strings.Cut(text, ":")
	m, err := strconv.ParseFloat(mean, 64)
	l := Length{Mean: m}
	if err == nil && sampled {
		l.SD, err = strconv.ParseFloat(sd, 64)
	}
	if err != nil || !(m >= 1 && m <= 1<<20) || !(l.SD >= 0 && l.SD <= 1<<20) {
		return l, fmt.Errorf("want a number of tokens such as 128, or a mean and a standard deviation such as 128:32, got %q", text)
	}
	return l, nil
}

func (l Length) draw(r *rand.Rand) int { return max(1, int(math.Round(l.Mean+l.SD*r.NormFloat64()))) }

// String is what ParseLength reads.
func (l Length) String() string {
	if l.SD == 0 {
		return strconv.FormatFloat(l.Mean, 'g', -1, 64)
	}
	return fmt.Sprintf("%g:%g", l.Mean, l.SD)
}

// Level is a load: a number of requests under way, or a mean rate of arrivals.
type Level struct {
	Concurrency int     // 0 = open loop
	Rate        float64 // requests per second
}

// String is the level in a table.
func (l Level) String() string {
	if l.Concurrency > 0 {
		return strconv.Itoa(l.Concurrency) + " at a time"
	}
	return fmt.Sprintf("%g/s", l.Rate)
}

// Options of a measurement.
type Options struct {
	Levels    []Level
	In, Out   Length
	Requests  int // of each model at each level in a round; 0 = 4 for each that is under way, at least 8
	Rounds    int
	Vocab     int // prompts are random token ids from 3 to Vocab-1
	Seed      uint64
	MaxTTFT   time.Duration // limits for goodput; 0 = none
	MaxITL    time.Duration
	OnRun     func(t Target, l Level, round int) // before each run; nil = not called
	transport http.RoundTripper
}

// Check refuses options that mean nothing.
func (o Options) Check() error {
	for _, l := range o.Levels {
		if l.Concurrency < 0 || l.Concurrency > 4096 || l.Concurrency == 0 && !(l.Rate > 0 && l.Rate <= 1e6) {
			return fmt.Errorf("want a concurrency of 1 to 4096 or a rate above 0, got %d and %g", l.Concurrency, l.Rate)
		}
	}
	switch {
	case len(o.Levels) == 0:
		return errors.New("want at least one concurrency or rate")
	case o.Requests < 0 || o.Requests > 1e6 || o.Rounds < 1 || o.Rounds > 1000:
		return fmt.Errorf("want 0 to 1000000 requests and 1 to 1000 rounds, got %d and %d", o.Requests, o.Rounds)
	case o.Vocab < 4:
		return fmt.Errorf("want a vocabulary of at least 4 tokens, got %d", o.Vocab)
	}
	return nil
}

// Run is the requests of one model at one level in one round.
type Run struct {
	Target  string
	Level   Level
	Round   int
	Wall    time.Duration // first start to last answer
	Samples []Sample
}

// Measure runs all levels with all targets.
func Measure(ctx context.Context, targets []Target, o Options) ([]Run, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.transport == nil {
		o.transport = &http.Transport{MaxIdleConnsPerHost: 4096}
	}
	client := &http.Client{Transport: o.transport}
	r := rand.New(rand.NewPCG(o.Seed, 1))
	for _, t := range targets { // also loads what is loaded lazily
		if s := t.send(ctx, client, o.prompt(r), 2); s.Error != "" {
			return nil, fmt.Errorf("%s: %s", t.Name, s.Error)
		}
	}
	var runs []Run
	for round := range o.Rounds {
		for i, level := range o.Levels {
			order := r.Perm(len(targets))
			for _, at := range order {
				if o.OnRun != nil {
					o.OnRun(targets[at], level, round)
				}
				// All targets get the same requests at the same times.
				same := rand.New(rand.NewPCG(o.Seed, uint64(round)<<32|uint64(i)|1<<63))
				run := o.run(ctx, client, targets[at], level, round, same)
				if err := ctx.Err(); err != nil {
					return runs, err
				}
				runs = append(runs, run)
			}
		}
	}
	return runs, nil
}

// prompt draws random token ids.
func (o Options) prompt(r *rand.Rand) []int {
	tokens := make([]int, o.In.draw(r))
	for i := range tokens {
		tokens[i] = 3 + r.IntN(o.Vocab-3)
	}
	return tokens
}

// requests is the number of requests at a level.
func (o Options) requests(l Level) int {
	if o.Requests > 0 {
		return o.Requests
	}
	return max(8, 4*l.Concurrency)
}

func (o Options) run(ctx context.Context, client *http.Client, t Target, level Level, round int, r *rand.Rand) Run {
	n := o.requests(level)
	type request struct {
		prompt []int
		out    int
		at     time.Duration // in an open loop
	}
	all := make([]request, n)
	at := 0.0
	for i := range all {
		all[i] = request{o.prompt(r), o.Out.draw(r), time.Duration(at * float64(time.Second))}
		if level.Concurrency == 0 {
			at += r.ExpFloat64() / level.Rate
		}
	}
	run := Run{Target: t.Name, Level: level, Round: round, Samples: make([]Sample, n)}
	start := time.Now()
	send := func(i int) {
		began := time.Since(start)
		s := t.send(ctx, client, all[i].prompt, all[i].out)
		s.Target, s.Level, s.Round, s.Start = t.Name, level.String(), round, began
		run.Samples[i] = s
	}
	var wg sync.WaitGroup
	if level.Concurrency > 0 {
		next := make(chan int, n)
		for i := range n {
			next <- i
		}
		close(next)
		for range level.Concurrency {
			wg.Go(func() {
				for i := range next {
					send(i)
				}
			})
		}
	} else {
		for i := range n {
			wg.Go(func() {
				select {
				case <-time.After(all[i].at - time.Since(start)):
					send(i)
				case <-ctx.Done():
				}
			})
		}
	}
	wg.Wait()
	run.Wall = time.Since(start)
	return run
}
