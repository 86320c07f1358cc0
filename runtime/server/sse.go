package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// eventStream writes server-sent events. Each has a deadline of its own, after which a reader
// that takes nothing is given up.
type eventStream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
}

// startStream sends the header of a stream.
func (s *Server) startStream(w http.ResponseWriter) *eventStream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return &eventStream{w, http.NewResponseController(w), s.o.WriteTimeout}
}

// send sends an event; name is "" where it has none.
func (e *eventStream) send(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return e.sendRaw(name, data)
}

func (e *eventStream) sendRaw(name string, data []byte) error {
	var b bytes.Buffer
	if name != "" {
		b.WriteString("event: " + name + "\n")
	}
	b.WriteString("data: ")
	b.Write(data)
	b.WriteString("\n\n")
	e.rc.SetWriteDeadline(time.Now().Add(e.timeout))
	if _, err := e.w.Write(b.Bytes()); err != nil {
		return err
	}
	return e.rc.Flush()
}

// done ends a stream as clients of the OpenAI API expect it.
func (e *eventStream) done() error { return e.sendRaw("", []byte("[DONE]")) }

// fail ends a stream whose header was sent already with an error.
func (e *eventStream) fail(err error) { e.sendRaw("", asAPIError(err).body()) }
