package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"mop/runtime/device"
	"mop/runtime/engine"
	"mop/runtime/generate"
	"mop/runtime/model"
)

// apiError is an error as clients of the OpenAI API expect it.
type apiError struct {
	Status  int
	Message string
	Type    string
	Param   string // the field that is wrong, "" = none
	Code    string
}

func (e *apiError) Error() string { return e.Message }

func badField(param, format string, args ...any) *apiError {
	return &apiError{Status: http.StatusBadRequest, Type: "invalid_request_error", Param: param, Message: param + ": " + fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *apiError {
	return &apiError{Status: http.StatusBadRequest, Type: "invalid_request_error", Message: fmt.Sprintf(format, args...)}
}

// asAPIError gives the status and type of an error of the engine.
func asAPIError(err error) *apiError {
	var a *apiError
	switch {
	case errors.As(err, &a):
		return a
	case errors.Is(err, engine.ErrQueueFull):
		return &apiError{Status: http.StatusTooManyRequests, Type: "rate_limit_error", Code: "queue_full", Message: err.Error()}
	case errors.Is(err, engine.ErrClosed):
		return &apiError{Status: http.StatusServiceUnavailable, Type: "unavailable_error", Message: "the server is shutting down"}
	case errors.Is(err, model.ErrContext):
		return &apiError{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "context_length_exceeded", Message: err.Error()}
	case errors.Is(err, model.ErrVocabulary), errors.Is(err, engine.ErrMemory):
		return &apiError{Status: http.StatusBadRequest, Type: "invalid_request_error", Message: err.Error()}
	case errors.Is(err, generate.ErrNoToken):
		return badRequest("%v", err)
	case errors.Is(err, engine.ErrDevice):
		return &apiError{Status: http.StatusServiceUnavailable, Type: "unavailable_error", Message: engine.ErrDevice.Error()}
	case errors.Is(err, device.ErrMemory):
		return &apiError{Status: http.StatusServiceUnavailable, Type: "unavailable_error", Message: "the device has no memory for the request"}
	}
	return &apiError{Status: http.StatusInternalServerError, Type: "internal_error", Message: err.Error()}
}

// param is the field that is wrong, nil where there is none.
func (e *apiError) param() *string {
	if e.Param == "" {
		return nil
	}
	return &e.Param
}

// body is the JSON of an error.
func (e *apiError) body() []byte {
	type inner struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    any     `json:"code"`
	}
	in := inner{Message: e.Message, Type: e.Type, Param: e.param()}
	switch {
	case e.Code != "":
		in.Code = e.Code
	case e.Status == http.StatusServiceUnavailable:
		in.Code = e.Status
	}
	b, err := json.Marshal(map[string]inner{"error": in})
	if err != nil { // there is nothing in it that cannot be marshalled
		return []byte(`{"error":{"message":"internal error","type":"internal_error","param":null,"code":null}}`)
	}
	return b
}

// write answers a request with the error.
func (e *apiError) write(w http.ResponseWriter) { e.writeBody(w, e.body()) }

func (e *apiError) writeBody(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	switch e.Status {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(e.Status)
	w.Write(body)
}

// writeJSON answers a request with a value.
func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		asAPIError(err).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b)
}
