// Package server is an HTTP server for loaded models with the OpenAI API: completions and
// chats, as a whole or as a stream of events, beside tokenization, health and metrics.
//
// A request is validated as a whole before its first byte is answered. Its goroutine waits for
// tokens and turns them into text; only the goroutine of the model's engine uses the device.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"mop/runtime/chat"
	"mop/runtime/config"
	"mop/runtime/engine"
	"mop/runtime/tokenizer"
	"mop/runtime/vision"
)

// Options of a server.
type Options struct {
	APIKey string // that clients must send; "" = none, which needs a loopback address

	Logger *slog.Logger // of requests; nil = the default one

	// Limits; 0 = the default.
	MaxBody       int64         // bytes of a request's body: 4 MiB
	MaxImageBody  int64         // of a chat with a model that takes pictures: 20 MiB
	WriteTimeout  time.Duration // for each part of an answer, after which a slow reader is given up: 30 s
	ReadTimeout   time.Duration // for a whole request: 30 s
	DrainTimeout  time.Duration // for running requests after the order to stop: 30 s
	HeaderTimeout time.Duration // for a request's header: 5 s
}

func (o Options) withDefaults() Options {
	o.Logger = orDefault(o.Logger, slog.Default())
	o.MaxBody = orDefault(o.MaxBody, 4<<20)
	o.MaxImageBody = orDefault(o.MaxImageBody, 20<<20)
	o.WriteTimeout = orDefault(o.WriteTimeout, 30*time.Second)
	o.ReadTimeout = orDefault(o.ReadTimeout, 30*time.Second)
	o.DrainTimeout = orDefault(o.DrainTimeout, 30*time.Second)
	o.HeaderTimeout = orDefault(o.HeaderTimeout, 5*time.Second)
	return o
}

func orDefault[T comparable](value, absent T) T {
	var zero T
	if value == zero {
		return absent
	}
	return value
}

// Model is a model that is served.
type Model struct {
	Name      string // that clients select it by
	Engine    *engine.Engine
	Tokenizer *tokenizer.Tokenizer

	config   *config.Config
	template *chat.Template // nil = there is none
	grammars grammars       // of the forms that requests want
	vision   *vision.LLaVA  // nil = the model takes texts only
	drafted  bool           // a draft proposes tokens
	prefix   string         // key of the requests that may share pages of their prompts
	dir      string         // with tokenizer_config.json
	created  time.Time
	close    func() error // nil = nothing to close
}

// NewModel describes a model that is served. dir is the checkpoint's directory. It has no
// chat template: see SetTemplate.
func NewModel(name, dir string, c *config.Config, t *tokenizer.Tokenizer, e *engine.Engine) *Model {
	return &Model{Name: name, Engine: e, Tokenizer: t, config: c, dir: dir, created: time.Now()}
}

// Vocab is the size of the model's vocabulary.
func (m *Model) Vocab() int { return m.config.VocabSize }

// SetTemplate sets the template of chats.
func (m *Model) SetTemplate(t *chat.Template) { m.template = t }

// Server answers HTTP requests. It is not ready, and says so, until SetModels was called.
type Server struct {
	o       Options
	key     keyCheck
	handler http.Handler
	metrics *metrics

	mu     sync.RWMutex
	models []*Model // nil = still loading
}

// New makes a server without models.
func New(o Options) *Server {
	s := &Server{o: o.withDefaults(), key: newKeyCheck(o.APIKey), metrics: newMetrics()}
	s.handler = s.guard(s.routes())
	return s
}

// SetModels makes the server ready.
func (s *Server) SetModels(models ...*Model) {
	for _, m := range models {
		m.prefix = string(s.key.hash[:])
		s.metrics.add(m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.models = models
}

// served gives the models, nil while they are loaded.
func (s *Server) served() []*Model {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.models
}

// Handler answers requests.
func (s *Server) Handler() http.Handler { return s.handler }

// CheckAddress refuses to listen where others can connect without a key.
func CheckAddress(host, key string) error {
	if key != "" || host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("host %q: other machines could connect without a key: want an API key, or a loopback address such as 127.0.0.1", host)
}

// web is the HTTP server, with its limits.
func (s *Server) web() *http.Server {
	return &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: s.o.HeaderTimeout,
		ReadTimeout:       s.o.ReadTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
	}
}

// ignoreDeadline is an error unless it is that of a time that has passed.
func ignoreDeadline(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// Serve loads models and answers the requests of a listener until ctx ends. Then it takes no
// more requests, lets those that run finish, cancels what is left at Options.DrainTimeout,
// and returns nil. It returns earlier with the error of a model that cannot be loaded or of a
// device that failed. The models can be closed afterwards.
func (s *Server) Serve(ctx context.Context, l net.Listener, load func() ([]*Model, error)) error {
	web := s.web()
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	defer web.Close()
	models, err := load()
	if err != nil {
		return err
	}
	s.SetModels(models...)
	steps, stopSteps := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSteps()
	stepped := make(chan error, 1)
	go func() { stepped <- RunEngines(steps, models...) }()
	select {
	case <-ctx.Done():
		s.o.Logger.Info("stopping: requests that run may finish", "limit", s.o.DrainTimeout)
	case err := <-stepped:
		return errors.Join(err, answerEnded(ctx, web))
	case err := <-served:
		stopSteps()
		<-stepped
		return err
	}
	for _, m := range models {
		m.Engine.Stop()
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.DrainTimeout)
	defer cancel()
	if err := web.Shutdown(drain); err != nil {
		s.o.Logger.Warn("canceling the requests that still run", "because", err)
	}
	stopSteps()
	if err := <-stepped; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return answerEnded(ctx, web)
}

// answerEnded lets the requests that have just ended get their answers, which takes no longer
// than it takes to write them.
func answerEnded(ctx context.Context, web *http.Server) error {
	answers, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return ignoreDeadline(web.Shutdown(answers))
}
