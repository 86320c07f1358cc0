//go:build cudaemu

package emu

import "embed"

// Source is the headers' text, embedded so that a change of it rebuilds what
// includes them.
//
//go:embed *.h
var Source embed.FS
