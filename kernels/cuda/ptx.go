//go:build cuda

package cuda

import "embed"

// PTX holds ptx/sm_80 and ptx/sm_90, one file an operation, and ptx/sm_90a, those that
// have another form there.
//
//go:embed ptx
var PTX embed.FS
