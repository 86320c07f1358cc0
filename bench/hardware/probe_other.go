//go:build !amd64

package hardware

// probes lists what this processor can run.
func probes() []probe { return []probe{generic()} }
