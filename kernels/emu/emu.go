//go:build cudaemu

package emu

import "embed"

// Source is the text of the headers. It is embedded so that a change of a header rebuilds the
// packages that include it.
//
//go:embed *.h
var Source embed.FS
