package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// route is an endpoint.
type route struct {
	method, path string
	handle       func(w http.ResponseWriter, r *http.Request)
	loading      bool // it answers while models are loaded
}

// endpoints lists all endpoints.
func (s *Server) endpoints() []route {
	return []route{
		{"GET", "/{$}", servePage("index.html", "text/html; charset=utf-8"), true},
		{"GET", "/page.js", servePage("page.js", "text/javascript; charset=utf-8"), true},
		{"GET", "/health", s.health, true},
		{"GET", "/metrics", s.metrics.handler.ServeHTTP, true},
		{"GET", "/v1/models", s.listModels, false},
		{"GET", "/v1/models/{name...}", s.describeModel, false},
		{"POST", "/v1/completions", s.completions, false},
		{"POST", "/v1/chat/completions", s.chatCompletions, false},
		{"POST", "/v1/responses", s.responses, false},
		{"POST", "/v1/messages", s.messages, false},
		{"POST", "/v1/messages/count_tokens", s.countTokens, false},
		{"POST", "/tokenize", s.tokenize, false},
		{"POST", "/detokenize", s.detokenize, false},
		{"GET", "/tokenizer_info", s.tokenizerInfo, false},
	}
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, e := range s.endpoints() {
		mux.HandleFunc(e.method+" "+e.path, func(w http.ResponseWriter, r *http.Request) {
			if !e.loading && s.served() == nil {
				errLoading.write(w)
				return
			}
			e.handle(w, r)
		})
		methods[e.path] = append(methods[e.path], e.method)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for path, allowed := range methods {
			if path == r.URL.Path && !slices.Contains(allowed, r.Method) {
				w.Header().Set("Allow", strings.Join(allowed, ", "))
				(&apiError{Status: http.StatusMethodNotAllowed, Type: "invalid_request_error", Message: fmt.Sprintf("%s: want %s, got %s", path, strings.Join(allowed, " or "), clip([]byte(r.Method)))}).write(w)
				return
			}
		}
		(&apiError{Status: http.StatusNotFound, Type: "not_found_error", Message: "there is no endpoint " + clip([]byte(r.Method+" "+r.URL.Path))}).write(w)
	})
	return mux
}

var errLoading = &apiError{Status: http.StatusServiceUnavailable, Type: "unavailable_error", Message: "Loading model"}

// health answers 200 when the models are loaded and their device works.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	models := s.served()
	if models == nil {
		errLoading.write(w)
		return
	}
	for _, m := range models {
		if m.Engine.Err() != nil {
			(&apiError{Status: http.StatusServiceUnavailable, Type: "unavailable_error", Message: "the device failed"}).write(w)
			return
		}
	}
	writeJSON(w, map[string]string{"status": "ok"})
}

// modelObject describes a model.
type modelObject struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	OwnedBy     string `json:"owned_by"`
	MaxModelLen int    `json:"max_model_len"`
	Parameters  int64  `json:"parameters"`
	HasTemplate bool   `json:"has_chat_template"`
	TakesImages bool   `json:"takes_images"`
}

func (m *Model) object() modelObject {
	return modelObject{m.Name, "model", m.created.Unix(), "mop", m.Engine.Stats().MaxContext, m.config.Params(), m.template != nil, m.vision != nil}
}

func (s *Server) listModels(w http.ResponseWriter, r *http.Request) {
	list := []modelObject{}
	for _, m := range s.served() {
		list = append(list, m.object())
	}
	writeJSON(w, map[string]any{"object": "list", "data": list})
}

func (s *Server) describeModel(w http.ResponseWriter, r *http.Request) {
	f := &fields{}
	if m := s.findModel(f, r.PathValue("name")); m != nil {
		writeJSON(w, m.object())
		return
	}
	f.err.write(w)
}
