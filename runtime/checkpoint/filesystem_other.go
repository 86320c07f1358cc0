//go:build !linux

package checkpoint

import (
	"errors"
	"fmt"
	"math"
)

// exchange is not available: only Linux can swap two paths atomically.
func exchange(a, b string) error {
	return fmt.Errorf("exchange for %s: %w on this system: remove the old model first", a, errors.ErrUnsupported)
}

// freeBytes is unknown on this system; a write to a full disk fails.
func freeBytes(string) (int64, error) { return math.MaxInt64, nil }

// lock does nothing: on this system two saves of one target are not kept apart.
func lock(string) (unlock func(), err error) { return func() {}, nil }
