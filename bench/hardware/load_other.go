//go:build !linux

package hardware

import "time"

// OtherLoad is the processor time that went to others; ok is false where the
// system does not tell.
func OtherLoad() (others, steal time.Duration, ok bool) { return 0, 0, false }
