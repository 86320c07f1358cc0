package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"mop/runtime/config"
)

// fields reads the members of a JSON object one by one, and at the end refuses those that
// nothing has read: an option that has no effect must not pass in silence. A member that is
// null counts as absent. The first error is kept.
type fields struct {
	raw    map[string]json.RawMessage
	prefix string // of names in errors
	err    *apiError
}

// readFields reads a request's body: one JSON object of at most limit bytes.
func readFields(w http.ResponseWriter, r *http.Request, limit int64) (*fields, *apiError) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, &apiError{Status: http.StatusRequestEntityTooLarge, Type: "invalid_request_error", Message: fmt.Sprintf("want a body of at most %d bytes", limit)}
	}
	if err != nil {
		return nil, badRequest("the body cannot be read: %v", err)
	}
	return parseFields(data)
}

func parseFields(data []byte) (*fields, *apiError) {
	if !utf8.Valid(data) {
		return nil, badRequest("want a body in UTF-8")
	}
	if err := config.CheckJSON(data); err != nil {
		return nil, badRequest("want a JSON object: %v", err)
	}
	if at := loneSurrogate(data); at >= 0 {
		return nil, badRequest("want whole characters: byte %d begins half of one, %s", at, data[at:at+6])
	}
	f := &fields{}
	if err := json.Unmarshal(data, &f.raw); err != nil || f.raw == nil {
		return nil, badRequest("want a JSON object, got %s", clip(data))
	}
	return f, nil
}

// loneSurrogate finds an escape in valid JSON that is half of a character, which the decoder
// would replace in silence; -1 = none.
func loneSurrogate(data []byte) int {
	unit := func(at int) (rune, bool) { // of an escape \uXXXX
		if at+6 > len(data) || data[at] != '\\' || data[at+1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(data[at+2:at+6]), 16, 16)
		return rune(n), err == nil
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		r, ok := unit(i)
		if !ok {
			i++ // another escape, such as \\
			continue
		}
		if utf16.IsSurrogate(r) {
			if low, ok := unit(i + 6); !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
				return i
			}
			i += 6
		}
		i += 5
	}
	return -1
}

// clip shows a JSON value in an error.
func clip(raw []byte) string {
	const most = 40
	text := strings.ToValidUTF8(string(raw[:min(len(raw), most)]), "")
	if len(raw) > most {
		text += "..."
	}
	return text
}

func (f *fields) fail(name, format string, args ...any) {
	if f.err == nil {
		f.err = badField(f.prefix+name, format, args...)
	}
}

// take removes a member. A null is absent.
func (f *fields) take(name string) (raw json.RawMessage, ok bool) {
	raw, ok = f.raw[name]
	delete(f.raw, name)
	return raw, ok && string(raw) != "null"
}

// has reports whether a member that is not null has not been read yet.
func (f *fields) has(name string) bool {
	raw, ok := f.raw[name]
	return ok && string(raw) != "null"
}

func (f *fields) integer(name string, absent, low, high int) int {
	raw, ok := f.take(name)
	if !ok {
		return absent
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < int64(low) || n > int64(high) {
		f.fail(name, "want a whole number from %d to %d, got %s", low, high, clip(raw))
		return absent
	}
	return int(n)
}

func (f *fields) number(name string, absent, low, high float64) float64 {
	raw, ok := f.take(name)
	if !ok {
		return absent
	}
	x, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || !(x >= low && x <= high) {
		f.fail(name, "want a number from %v to %v, got %s", low, high, clip(raw))
		return absent
	}
	return x
}

func (f *fields) boolean(name string, absent bool) bool {
	raw, ok := f.take(name)
	if !ok {
		return absent
	}
	if s := string(raw); s == "true" || s == "false" {
		return s == "true"
	}
	f.fail(name, "want true or false, got %s", clip(raw))
	return absent
}

// text reads a string; ok is false where it is absent.
func (f *fields) text(name string) (s string, ok bool) {
	raw, ok := f.take(name)
	if !ok {
		return "", false
	}
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		f.fail(name, "want a string, got %s", clip(raw))
	}
	return s, true
}

// object reads an object, nil where it is absent.
func (f *fields) object(name string) *fields {
	raw, ok := f.take(name)
	if !ok {
		return nil
	}
	in := &fields{prefix: f.prefix + name + "."}
	if err := json.Unmarshal(raw, &in.raw); err != nil {
		f.fail(name, "want an object, got %s", clip(raw))
		return nil
	}
	return in
}

// list reads an array, nil where it is absent.
func (f *fields) list(name string) (items []json.RawMessage) {
	raw, ok := f.take(name)
	if ok && json.Unmarshal(raw, &items) != nil {
		f.fail(name, "want an array, got %s", clip(raw))
	}
	return items
}

// close takes over the error of an object that was read as a member, after its own end.
func (f *fields) close(in *fields) {
	if err := in.end(); err != nil && f.err == nil {
		f.err = err
	}
}

// neutral reads a member of which only some values are supported: those that change nothing.
func (f *fields) neutral(name string, values ...string) {
	raw, ok := f.take(name)
	var compact bytes.Buffer
	if !ok || json.Compact(&compact, raw) == nil && slices.Contains(values, compact.String()) {
		return
	}
	if len(values) == 0 {
		f.fail(name, "is not supported")
		return
	}
	f.fail(name, "is not supported, except %s, got %s", strings.Join(values, ", "), clip(raw))
}

// ignore drops members that describe the client and do not change the answer.
func (f *fields) ignore(names ...string) {
	for _, name := range names {
		delete(f.raw, name)
	}
}

// end returns the first error, or one for the first member that nothing has read.
func (f *fields) end() *apiError {
	if f.err != nil {
		return f.err
	}
	var left []string
	for name, raw := range f.raw {
		if string(raw) != "null" {
			left = append(left, name)
		}
	}
	if len(left) == 0 {
		return nil
	}
	name := slices.Min(left)
	return badField(f.prefix+clip([]byte(name)), "is not supported")
}

// tokens reads a JSON array of token ids of a vocabulary.
func tokens(raw json.RawMessage, vocabulary int) ([]int, error) {
	var list []json.Number
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("want an array of token ids, got %s", clip(raw))
	}
	out := make([]int, len(list))
	for i, number := range list {
		n, err := strconv.ParseInt(number.String(), 10, 32)
		if err != nil || n < 0 || n >= int64(vocabulary) {
			return nil, fmt.Errorf("position %d: want a token id below %d, got %s", i, vocabulary, clip([]byte(number)))
		}
		out[i] = int(n)
	}
	return out, nil
}

const maxInt = math.MaxInt32
