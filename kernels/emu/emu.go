//go:build cudaemu

package emu

import "embed"

// Source is the header's text, embedded so that a change of it rebuilds what
// includes it.
//
//go:embed emu.h
var Source embed.FS
