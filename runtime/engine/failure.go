package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"mop/internal/files"
)

// errPanic is the error of requests in a step that panicked. What it panicked with is logged
// only.
var errPanic = errors.New("internal error")

// runStep is Step, as one of several engines of a device. A weight file that can no longer be
// read becomes an error, and so does a panic.
func (e *Engine) runStep() (busy bool, err error) {
	if e.turn != nil {
		e.turn.Lock()
		defer e.turn.Unlock()
	}
	defer func() {
		if p := recover(); p != nil {
			slog.Error("panic in a step", "panic", p, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	defer files.Catch(&err)
	return e.Step()
}

// recoverFrom handles a step that failed. Where the device still works, the requests that run
// end with the error, since their state is not known, and their pages are free; it returns
// nil, and the engine goes on. A device that has failed, and a weight file that can no longer
// be read, are an error that wraps ErrDevice, after which nothing can be computed.
func (e *Engine) recoverFrom(step error) error {
	if errors.Is(step, files.ErrFault) {
		return fmt.Errorf("%w: %w", ErrDevice, step)
	}
	if err := e.m.Device().Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrDevice, err)
	}
	slog.Error("a step failed: the requests that run end", "requests", len(e.running), "error", step)
	if e.decoder != nil {
		if err := e.decoder.Reset(); err != nil {
			return fmt.Errorf("%w: %w", ErrDevice, err)
		}
	}
	for _, r := range e.running {
		e.end(r, FinishError, step)
	}
	e.removeEnded()
	e.updateStats()
	return nil
}
