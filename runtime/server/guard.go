package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// keyCheck compares keys in constant time over hashes, so that neither their contents nor
// their length shows in the time that it takes.
type keyCheck struct {
	set  bool
	hash [sha256.Size]byte
}

func newKeyCheck(key string) keyCheck { return keyCheck{key != "", sha256.Sum256([]byte(key))} }

// allows reports whether a request has the key.
func (k keyCheck) allows(r *http.Request) bool {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		key = r.Header.Get("X-Api-Key")
	}
	hash := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1
}

// openPath reports whether a path needs no key: the page holds no secret and asks for the
// key, and health checks have none.
func openPath(path string) bool { return path == "/" || path == "/page.js" || path == "/health" }

type contextKey int

const requestID contextKey = 0

// newID makes an identifier that cannot be guessed.
func newID(prefix string) string {
	var b [12]byte
	rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}

// statusWriter remembers whether the header of an answer was sent, and its status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// guard checks who asks before anything else happens, and keeps a panic from ending the server.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w, start, id := &statusWriter{ResponseWriter: out}, time.Now(), newID("req-")
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.o.Logger.Error("panic in a request", "request", id, "path", clip([]byte(r.URL.Path)), "panic", p, "stack", string(debug.Stack()))
				if w.status == 0 {
					(&apiError{Status: http.StatusInternalServerError, Type: "internal_error", Message: "internal error"}).write(w)
				}
			}
			s.o.Logger.Info("request", "id", id, "method", r.Method, "path", clip([]byte(r.URL.Path)), "status", w.status, "duration", time.Since(start).Round(time.Millisecond))
		}()
		rc := http.NewResponseController(w)
		rc.SetWriteDeadline(time.Now().Add(s.o.ReadTimeout + s.o.WriteTimeout))
		if err := s.checkOrigin(r); err != nil {
			err.write(w)
			return
		}
		if s.key.set && !openPath(r.URL.Path) && !s.key.allows(r) {
			(&apiError{Status: http.StatusUnauthorized, Type: "authentication_error", Code: "invalid_api_key", Message: "want the API key in the header Authorization: Bearer KEY or X-Api-Key"}).write(w)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestID, id)))
	})
}

// checkOrigin refuses, where there is no key, requests under another host's name: a web page
// could otherwise reach the server by a name that it lets resolve to a loopback address, or
// simply post to it.
func (s *Server) checkOrigin(r *http.Request) *apiError {
	if s.key.set {
		return nil
	}
	refuse := func(what, got string) *apiError {
		return &apiError{Status: http.StatusForbidden, Type: "invalid_request_error", Message: what + ": without an API key only this machine is served, got " + clip([]byte(got))}
	}
	if !isLoopback(r.Host) {
		return refuse("header Host", r.Host)
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !isLoopback(u.Host) {
			return refuse("header Origin", origin)
		}
	}
	return nil
}

// isLoopback reports whether a host, with or without a port, names this machine.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
